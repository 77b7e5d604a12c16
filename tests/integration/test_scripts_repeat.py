"""A script call whose reply was lost is made again: that does no harm, whatever happened in between."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from hippo_messenger.observer import Observer
from hippo_messenger.queues.call import Caller
from hippo_messenger.queues.connection import Connection
from hippo_messenger.settings import Settings
from hippo_messenger.testing import Proxy
from tests.integration.scripts import ADD, CALLS, HOUR, OPTS, TOKEN, Bench, order, outcome, taken_ids


@pytest.fixture
async def bench(redis_server: str, prefix: str) -> AsyncIterator[Bench]:
    bench = Bench(redis_server, prefix)
    bench.populate()
    yield bench
    await bench.close()


@pytest.mark.parametrize("script", [script for script in CALLS if script != "presence"])
async def test_a_repeat_changes_nothing(bench: Bench, script: str) -> None:
    call = CALLS[script](bench)
    first = bench.run(call.name, call.keys, call.arguments)
    before = bench.space()
    for _ in range(2):
        again = bench.run(call.name, call.keys, call.arguments, again=True)
        assert bench.space() == before
        assert len(again) == len(first)


async def test_a_repeat_of_presence_only_tells_the_time_again(bench: Bench) -> None:
    call = CALLS["presence"](bench)
    first = bench.run(call.name, call.keys, call.arguments)
    before = bench.shape()
    assert bench.run(call.name, call.keys, call.arguments, again=True) == first
    assert bench.shape() == before


@pytest.mark.parametrize("script", CALLS)
async def test_a_dropped_reply_leaves_what_an_undisturbed_call_leaves(
    redis_server: str, prefix: str, script: str
) -> None:
    undisturbed, disturbed = Bench(redis_server, f"{prefix}1"), Bench(redis_server, f"{prefix}2")
    for bench in (undisturbed, disturbed):
        bench.populate()
    call = CALLS[script](undisturbed)
    undisturbed.run(call.name, call.keys, call.arguments)

    proxy = Proxy(redis_server)
    await proxy.start()
    connection = Connection.of(proxy.url, settings=Settings(prefix=f"{prefix}2"))
    await connection.open()
    call = CALLS[script](disturbed)
    proxy.drop_replies(1)
    await Caller(connection, observer=Observer()).call(call.name, call.keys, call.arguments, patience=10)
    assert proxy.dropped == 1
    assert disturbed.shape() == undisturbed.shape()

    await connection.close()
    await proxy.stop()
    await undisturbed.close()
    await disturbed.close()


async def test_a_take_hands_out_again_what_the_lost_reply_held_in_the_same_order(bench: Bench) -> None:
    first = bench.take(3, token="new")
    bench.add(ADD("newer"))
    assert bench.take(3, token="new", again=True) == first
    assert len(first) == 3


async def test_a_take_that_found_nothing_takes_when_it_is_repeated(bench: Bench) -> None:
    bench.take(10, token="other")
    assert bench.take(10, token="new") == []
    bench.add(ADD("newer"))
    assert bench.take(10, token="new", again=True) == [b"newer"]


async def test_a_take_does_not_steal_what_was_lost_to_another_meanwhile(bench: Bench) -> None:
    (job,) = bench.take(1, token="new")
    bench.redis.set(bench.key(f"{job.decode()}:lock"), "other")
    assert job not in bench.take(1, token="new", again=True)


@pytest.mark.parametrize("kind", ["completed", "failed", "retry", "later", "back"])
async def test_a_settle_does_not_touch_a_job_that_another_holds_by_then(bench: Bench, kind: str) -> None:
    words = [*order(0), *outcome(kind, "held-1", value="{}", number=HOUR)]
    bench.run("settle", bench.layout.broker.all, words)
    for name in ("completed", "failed", "delayed"):
        bench.redis.zrem(bench.key(name), "held-1")
    bench.redis.lrem(bench.key("wait"), 0, "held-1")
    bench.redis.lpush(bench.key("active"), "held-1")
    bench.redis.set(bench.key("held-1:lock"), "other")
    before = bench.space()
    assert bench.run("settle", bench.layout.broker.all, words, again=True)[2] == [b"lost"]
    assert bench.space() == before


@pytest.mark.parametrize(
    ("kind", "number", "status"),
    [
        ("completed", 1, "settled"),
        ("failed", 1, "settled"),
        ("retry", HOUR, "settled"),
        ("later", HOUR, "settled"),
        ("retry", 0, "lost"),
        ("back", 0, "lost"),
    ],
)
async def test_a_repeated_settle_tells_what_the_first_has_done_from_what_was_lost(
    bench: Bench, kind: str, number: int, status: str
) -> None:
    """Guards against lost locks that pass for settlings, and the other way round; who lined up again can't be told."""
    words = [*order(0), *outcome(kind, "held-1", value="{}", number=number)]
    bench.run("settle", bench.layout.broker.all, words)
    assert bench.run("settle", bench.layout.broker.all, words, again=True)[2] == [status.encode()]

    words = [*order(0), *outcome(kind, "held-2", value="{}", number=number)]
    bench.redis.delete(bench.key("held-2:lock"))
    assert bench.run("settle", bench.layout.broker.all, words)[2] == [b"lost"]
    assert bench.run("settle", bench.layout.broker.all, words, again=True)[2] == [b"lost"]


async def test_a_settle_hands_out_again_the_next_job(bench: Bench) -> None:
    call = CALLS["settle"](bench)
    first = bench.run(call.name, call.keys, call.arguments)
    again = bench.run(call.name, call.keys, call.arguments, again=True)
    assert taken_ids(again[1]) == taken_ids(first[1]) != []
    assert again[2] == [b"settled", b"settled", b"lost", b"settled", b"settled", b"lost"]  # a line can't be searched


async def test_a_route_delivers_once_also_when_the_copies_are_done_by_then(bench: Bench) -> None:
    call = CALLS["route"](bench)
    bench.run(call.name, call.keys, call.arguments)
    for service in ("account", "shipping"):
        bench.redis.delete(*(key for key in bench.redis.scan_iter(f"{bench.layout.prefix}:{service}:*")))
    again = bench.run(call.name, call.keys, call.arguments, again=True)
    assert again[2] == [b"lost"] * 3
    assert not list(bench.redis.scan_iter(f"{bench.layout.prefix}:account:*"))


async def test_a_route_hands_out_again_the_next_job_also_when_the_registry_has_moved(bench: Bench) -> None:
    call = CALLS["route"](bench)
    first = bench.run(call.name, call.keys, call.arguments)
    bench.redis.incr(bench.layout.registry_version)
    again = bench.run(call.name, call.keys, call.arguments, again=True)
    assert taken_ids(again[1]) == taken_ids(first[1]) != []


async def test_a_route_that_never_arrived_is_still_checked_against_the_registry(bench: Bench) -> None:
    call = CALLS["route"](bench)
    bench.redis.incr(bench.layout.registry_version)
    before = bench.space()
    assert bench.run(call.name, call.keys, call.arguments, again=True) == [b"stale", 8]
    assert bench.space() == before


@pytest.mark.parametrize("kind", ["completed", "failed"])
async def test_a_publish_is_accepted_also_when_the_job_has_ended_by_then(bench: Bench, kind: str) -> None:
    job = ADD("new", copy=OPTS, lifo=True)
    bench.add(job)
    assert bench.take(1) == [b"new"]
    bench.run("settle", bench.layout.broker.all, [*order(0), *outcome(kind, "new", value="{}")])
    before = bench.space()
    keys = (*bench.layout.broker.all, *bench.layout.queue("order").all, bench.layout.seen)
    assert bench.run("publish", keys, [1, 600_000, "order", *job], again=True) == [b"ok", b"new", b"known"]
    assert bench.space() == before
    refused = bench.run("publish", keys, [1, 600_000, "order", *job])
    assert refused[2] == (b"failed" if kind == "failed" else b"known")


async def test_a_publish_that_is_refused_in_a_repeat_says_that_it_is_one(bench: Bench) -> None:
    """What the lost call has added may have gone its way since, and filled the very service that is full now."""
    bench.redis.set(bench.layout.full, '{"ORDER_SUCCESS":["account"]}')
    keys = (*bench.layout.broker.all, *bench.layout.queue("order").all, bench.layout.seen)
    words = [1, 600_000, "order", *ADD("new")]

    assert bench.run("publish", keys, words) == [b"ok", b"new", b"full account"]
    assert bench.run("publish", keys, words, again=True) == [b"ok", b"new", b"again full account"]
    assert bench.places("new") == []


async def test_a_repeated_take_of_a_torn_job_leaves_it_in_one_place(bench: Bench) -> None:
    [job] = [job_id.decode() for job_id in bench.take(1, token="lost")]
    bench.redis.hdel(bench.key(job), "name")

    assert job.encode() not in bench.take(1, token="lost", again=True)

    assert bench.places(job) == ["active"]  # from where the check for jobs of the dead takes it


async def test_a_publish_of_which_half_arrived_adds_the_other_half(bench: Bench) -> None:
    bench.add(ADD("one"))
    keys = (*bench.layout.broker.all, *bench.layout.queue("order").all, bench.layout.seen)
    words = [1, 600_000, "order", *ADD("one"), *ADD("two")]
    assert bench.run("publish", keys, words, again=True)[2::2] == [b"known", b"added"]
    assert bench.places("two") == ["wait"]


async def test_a_registration_that_is_sent_twice_is_registered_once(bench: Bench) -> None:
    call = CALLS["register"](bench)
    first = bench.run(call.name, call.keys, call.arguments)
    again = bench.run(call.name, call.keys, call.arguments, again=True)
    assert (first[1], again[1]) == (b"changed", b"same")
    assert first[2] == again[2], "the version stays"


async def test_renewing_again_only_holds_longer(bench: Bench) -> None:
    words = (30_000, "held-1", TOKEN, "held-2", "other")
    for again in (False, True):
        assert bench.run("renew", bench.layout.broker.all, words, again=again) == [b"ok", [2]]


async def test_a_take_hands_out_what_a_retry_has_left_of_earlier_attempts(bench: Bench) -> None:
    """Guards against reading them only of jobs that have been started: BullMQ's retry may remove that field alone."""
    bench.add(ADD("retried"))
    bench.redis.hset(bench.layout.broker.job("retried"), mapping={"atm": 2, "stacktrace": '["once"]'})
    reply = bench.run("take", bench.layout.broker.all, order(100))
    assert isinstance(reply[1], list)
    flat = reply[1][0]
    histories = dict(zip(flat[::6], flat[5::6], strict=True))
    assert histories[b"retried"] == [b"2", b"1", None, None, b'["once"]']
