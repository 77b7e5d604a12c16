"""What stands where an event is to go: it is known within the duplicate window, and makes room once that is over."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.integration.scripts import ADD, OPTS, TOKEN, Bench, order, outcome

WINDOW = 600_000
OTHER = '{"source":"billing","n":2}'
NEW = '{"source":"order","n":2}'


@pytest.fixture
async def bench(redis_server: str, prefix: str) -> AsyncIterator[Bench]:
    bench = Bench(redis_server, prefix)
    bench.redis.set(bench.layout.registry_version, 7)
    yield bench
    await bench.close()


def complete(bench: Bench, job: str, *, queue: str, ago: int) -> None:
    """Add a job to a queue, and let it have completed so many ms ago, with what a job may leave beside its hash."""
    keys = bench.layout.queue(queue).all
    bench.run("publish", keys, [1, WINDOW, "order", *ADD(job)])
    bench.run("take", keys, order(1, token="theirs"))
    bench.run("settle", keys, [*order(0), *outcome("completed", job, token="theirs", value="{}")])
    seconds, microseconds = bench.redis.time()
    bench.redis.zadd(bench.key("completed", queue=queue), {job: seconds * 1000 + microseconds // 1000 - ago})
    bench.redis.rpush(bench.key(f"{job}:logs", queue=queue), "a line")
    assert bench.places(job, queue=queue) == ["completed"]


def data_of(bench: Bench, job: str, *, queue: str) -> str:
    return str((bench.redis.hget(bench.key(job, queue=queue), "data") or b"").decode())


@pytest.mark.parametrize(("ago", "places"), [(WINDOW - 60_000, ["completed"]), (WINDOW + 60_000, ["wait"])])
async def test_publish_replaces_what_has_completed_before_the_window(bench: Bench, ago: int, places: list[str]) -> None:
    for queue in ("broker", "order"):
        complete(bench, "old", queue=queue, ago=ago)

    reply = bench.add(ADD("old", copy=OPTS, data=NEW), ADD("old", copy=OPTS, data=NEW))

    assert reply[2::2] == [b"known" if places == ["completed"] else b"added", b"known"]
    for queue in ("broker", "order"):
        assert bench.places("old", queue=queue) == places
        assert (data_of(bench, "old", queue=queue) == NEW) == (places == ["wait"])
        assert bench.redis.exists(bench.key("old:logs", queue=queue)) == (places == ["completed"])
        assert bench.redis.hexists(bench.key("old", queue=queue), "finishedOn") == (places == ["completed"])


async def test_a_repeat_does_not_take_what_the_lost_call_added_for_past(bench: Bench) -> None:
    """Within a window that is shorter than the repeat takes."""
    complete(bench, "new", queue="broker", ago=WINDOW + 60_000)
    before = bench.space()
    keys = (*bench.layout.broker.all, *bench.layout.queue("order").all, bench.layout.seen)
    assert bench.run("publish", keys, [1, WINDOW, "order", *ADD("new")], again=True) == [b"ok", b"new", b"known"]
    assert bench.space() == before


@pytest.mark.parametrize(("ago", "places"), [(WINDOW - 60_000, ["completed"]), (WINDOW + 60_000, ["wait"])])
async def test_route_replaces_a_copy_that_has_completed_before_the_window(
    bench: Bench, ago: int, places: list[str]
) -> None:
    complete(bench, "old", queue="account", ago=ago)
    bench.add(ADD("old", data=NEW))
    bench.take(1)
    layout = bench.layout
    keys = (*layout.broker.all, layout.registry_version, layout.seen)
    keys += (*layout.queue("shipping").all, *layout.queue("account").all)
    # The second copy is made of the first, which only works where nothing stands.
    words = [*order(0), 7, WINDOW, 3600, 1000, 2, "shipping", OPTS, "account", OPTS, 1, 2, 1, 2, "{}"]

    reply = bench.run("route", keys, [*words, 1, TOKEN, "", 1, "old", "", "digest-old"])

    assert reply[2] == [b"routed"]
    assert bench.places("old", queue="shipping") == ["wait"]
    assert bench.places("old", queue="account") == places
    assert (data_of(bench, "old", queue="account") == NEW) == (places == ["wait"])


async def test_what_another_service_has_sent_is_not_past_however_old_it_is(bench: Bench) -> None:
    complete(bench, "old", queue="broker", ago=WINDOW + 60_000)
    before = bench.space()
    assert bench.add(ADD("old", data=OTHER))[2] == b"taken"
    assert bench.space() == before
