"""Key spaces that somebody else has broken: each fault harms only what it touches, and nothing is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, cast

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from hippo_messenger.errors import QueueCorruptedError, RedisOutOfMemoryError
from hippo_messenger.queues.layout import QueueKeys
from hippo_messenger.queues.script import load_script
from tests.conftest import StartServer
from tests.integration.scripts import ADD, CALLS, HOUR, OPTS, TOKEN, WRONG, Bench, order, outcome

STRUCTURE = tuple(key.rpartition(":")[2] for key in QueueKeys("{p}", "q").all)
OF_THE_QUEUE = ("publish", "take", "settle", "route", "recover", "reject", "redrive", "discard", "restore")
"""The scripts that read and write all of the broker's queue."""
EMPTY = [-1, 0, 0, 0, 0, 0, 0, 0, -1, *[b""] * 11, []]
GARBAGE = ("nan", "-nan", "inf", "-1", "1.5", "1e9", "0x10", "abc", "", " 1", "007", "99999999999999999999")
VICTIM = "held-2"


@pytest.fixture
async def bench(redis_server: str, prefix: str) -> AsyncIterator[Bench]:
    bench = Bench(redis_server, prefix)
    try:
        bench.populate()
        yield bench
    finally:
        await bench.close()


def _wrong_types(bench: Bench, key: str, name: str) -> list[str]:
    right = {"wait": "list", "active": "list", "events": "stream", "meta": "hash", "stalled": "set"}
    right |= dict.fromkeys(("id", "pc", "limiter"), "string")
    right |= dict.fromkeys(("prioritized", "delayed", "completed", "failed", "marker"), "zset")
    return [kind for kind in WRONG if kind != right.get(name)]


@pytest.mark.parametrize("key", STRUCTURE)
@pytest.mark.parametrize("script", OF_THE_QUEUE)
async def test_a_key_of_the_wrong_type_is_named_and_nothing_changes(bench: Bench, script: str, key: str) -> None:
    call = CALLS[script](bench)
    for kind in _wrong_types(bench, key, key):
        bench.spoil(bench.key(key), kind)
        before = bench.space()
        with pytest.raises(QueueCorruptedError, match=rf"broker:{key} .*nothing was changed"):
            await bench.call(call.name, call.keys, call.arguments)
        assert bench.space() == before


@pytest.fixture
def restricted(bench: Bench) -> Iterator[Callable[[str], Any]]:
    """Makes a client of the same server for a user who may do all but one command."""
    clients: list[Any] = []
    name = f"restricted-{bench.layout.prefix}"

    def without(command: str) -> Any:
        bench.redis.execute_command(
            "ACL", "SETUSER", name, "reset", "on", ">secret", "~*", "&*", "+@all", f"-{command}"
        )
        clients.append(Redis.from_url(bench.url, username=name, password="secret"))
        return clients[-1]

    yield without
    for client in clients:
        client.close()
    bench.redis.execute_command("ACL", "DELUSER", name)


@pytest.mark.parametrize("command", ["llen", "zcard", "xlen"])
@pytest.mark.parametrize("script", OF_THE_QUEUE)
def test_a_queue_that_cannot_be_looked_at_is_out_of_reach_and_nothing_changes(
    bench: Bench, restricted: Callable[[str], Any], script: str, command: str
) -> None:
    call = CALLS[script](bench)
    words = (*call.keys, 0, *call.arguments)
    before = bench.space()

    refusal = restricted(command).eval(load_script(call.name).text, len(call.keys), *words)

    assert refusal[0] == b"corrupt"
    assert b"out of reach" in refusal[1]
    assert bench.space() == before


def test_an_event_whose_routing_raised_is_no_duplicate_afterwards(
    bench: Bench, restricted: Callable[[str], Any]
) -> None:
    call = CALLS["route"](bench)
    words = (*call.keys, 0, *call.arguments)
    before = bench.space()
    with pytest.raises(ResponseError, match="permissions to run"):
        restricted("exists").eval(load_script(call.name).text, len(call.keys), *words)
    assert bench.space() == before

    reply = bench.run(call.name, call.keys, call.arguments)

    assert set(cast("list[bytes]", reply[2])) == {b"routed"}


@pytest.mark.parametrize("garbage", ["[null]", "[{}]", "[true]", "7", "{}"])
def test_what_is_no_name_among_full_services_refuses_nothing(bench: Bench, garbage: str) -> None:
    bench.redis.set(bench.layout.full, f'{{"ORDER_SUCCESS":{garbage}}}')

    assert bench.add(ADD("new-1", delay=HOUR), ADD("held-1"), ADD("new-2"))[2::2] == [b"added", b"known", b"added"]

    assert bench.redis.exists(bench.key("marker"))


@pytest.mark.parametrize("key", STRUCTURE)
async def test_locks_are_renewed_whatever_else_is_broken(bench: Bench, key: str) -> None:
    bench.redis.pexpire(bench.key("held-1:lock"), 5_000)
    bench.spoil(bench.key(key), "string" if key not in ("id", "pc", "limiter") else "list")
    assert bench.run(*_words(bench, "renew")) == [b"ok", [3]]
    assert bench.redis.pttl(bench.key("held-1:lock")) > 20_000


@pytest.mark.parametrize("counter", ["id", "pc", "limiter"])
@pytest.mark.parametrize("script", OF_THE_QUEUE)
async def test_a_counter_that_is_none_is_named_and_nothing_changes(bench: Bench, script: str, counter: str) -> None:
    call = CALLS[script](bench)
    for value in (*GARBAGE, "9223372036854775807"):
        bench.redis.set(bench.key(counter), value)
        before = bench.space()
        with pytest.raises(QueueCorruptedError, match=f"broker:{counter} holds .*expected a counter"):
            await bench.call(call.name, call.keys, call.arguments)
        assert bench.space() == before


@pytest.mark.parametrize("script", ["settle", "route"])
@pytest.mark.parametrize("key", ["metrics:completed", "metrics:completed:data"])
async def test_metrics_that_are_none_are_left_alone_and_stop_nothing(bench: Bench, script: str, key: str) -> None:
    for kind in [kind for kind in WRONG if kind != bench.kind(bench.key(key))]:
        bench.spoil(bench.key(key), kind)
        before = bench.redis.dump(bench.key(key))
        reply = bench.run(*_words(bench, script))
        assert reply[0] == b"ok"
        assert bench.redis.dump(bench.key(key)) == before


@pytest.mark.parametrize("field", ["count", "prevTS", "prevCount"])
async def test_a_metric_that_is_no_number_stops_nothing(redis_server: str, prefix: str, field: str) -> None:
    for at, value in enumerate(GARBAGE):
        bench = Bench(redis_server, f"{prefix}{at}")
        bench.populate()
        bench.redis.hset(bench.key("metrics:completed"), field, value)
        assert bench.run(*_words(bench, "settle"))[0] == b"ok"
        await bench.close()


@pytest.mark.parametrize("setting", ["paused", "concurrency", "max", "duration", "opts.maxLenEvents"])
@pytest.mark.parametrize("script", OF_THE_QUEUE)
async def test_settings_that_are_no_numbers_stop_nothing(
    redis_server: str, prefix: str, script: str, setting: str
) -> None:
    for at, value in enumerate(GARBAGE):
        bench = Bench(redis_server, f"{prefix}{at}")
        bench.populate()
        bench.redis.hset(bench.key("meta"), setting, value)
        assert bench.run(*_words(bench, script))[0] == b"ok"
        await bench.close()


@pytest.mark.parametrize("script", OF_THE_QUEUE)
async def test_an_events_stream_that_is_full_stops_nothing(bench: Bench, script: str) -> None:
    events = bench.key("events")
    bench.redis.delete(events)
    bench.redis.xadd(events, {"event": "last"}, id="18446744073709551615-18446744073709551615")
    assert bench.run(*_words(bench, script))[0] == b"ok"
    assert bench.redis.xlen(events) == 1


@pytest.mark.parametrize("key", STRUCTURE)
async def test_publish_with_a_broken_own_queue_refuses_only_the_direct_copies(bench: Bench, key: str) -> None:
    for number, kind in enumerate(_wrong_types(bench, key, key)):
        broken = bench.key(key, queue="order")
        bench.spoil(broken, kind)
        before = {name: dump for name, dump in bench.space().items() if name.startswith("order:")}
        reply = bench.add(ADD(f"with-{number}", copy=OPTS), ADD(f"without-{number}"))
        assert _bytes(reply[2]).startswith(f"{broken} ".encode())
        assert reply[4] == b"added"
        assert (bench.places(f"with-{number}"), bench.places(f"without-{number}")) == ([], ["wait"])
        assert {name: dump for name, dump in bench.space().items() if name.startswith("order:")} == before
        bench.redis.delete(broken)


@pytest.mark.parametrize("key", STRUCTURE)
async def test_route_parks_only_the_copies_of_a_broken_target(bench: Bench, key: str) -> None:
    broken = bench.key(key, queue="account")
    bench.spoil(broken, "string" if key not in ("id", "pc", "limiter") else "list")
    before = bench.space()
    reply = bench.run(*_words(bench, "route"))
    assert reply[2] == [b"routed"] * 3
    assert [name for name in bench.space() if name.startswith("account:")] == [f"account:{key}"]
    assert bench.space()[f"account:{key}"] == before[f"account:{key}"]
    for job in ("held-1", "held-2", "held-3"):
        assert bench.places(job) == ["completed"]
        assert bench.places(f"parked-account-{job}") == ["failed"]
        assert bench.places(job, queue="shipping") != []
        assert f"not delivered to account: {broken} ".encode() in _field(bench, f"parked-account-{job}", "failedReason")


@pytest.mark.parametrize("kind", [kind for kind in WRONG if kind != "set"])
async def test_a_broken_duplicate_window_stops_routing_and_direct_copies_alone(bench: Bench, kind: str) -> None:
    bench.add(ADD("copied", copy=OPTS))
    (window,) = bench.redis.scan_iter(f"{bench.layout.seen}:[0-9]*")
    bench.spoil(window.decode(), kind)
    before = bench.space()
    call = CALLS["route"](bench)
    with pytest.raises(QueueCorruptedError, match="seen:"):
        await bench.call(call.name, call.keys, call.arguments)
    assert bench.space() == before
    reply = bench.add(ADD("with", copy=OPTS), ADD("without"))
    assert b"seen:" in _bytes(reply[2])
    assert reply[4] == b"added"


@pytest.mark.parametrize("value", [*GARBAGE, None])
async def test_a_registry_version_that_is_none_does_not_stop_routing(bench: Bench, value: str | None) -> None:
    bench.redis.delete(bench.layout.registry_version)
    if value is not None:
        bench.redis.set(bench.layout.registry_version, value)
    call = CALLS["route"](bench)
    arguments = list(call.arguments)
    arguments[arguments.index(7)] = int(str(bench.run(*_words(bench, "registrations"))[1]))
    assert bench.run(call.name, call.keys, arguments)[0] == b"ok"
    assert bench.run(*_words(bench, "register"))[1] == b"changed"
    assert int(str(bench.run(*_words(bench, "registrations"))[1])) > 0


@pytest.mark.parametrize(
    ("script", "at"),
    [
        *((script, at) for script, keys in (("register", 3), ("presence", 2), ("note", 3)) for at in range(keys)),
        *(("progress", at) for at in range(3)),
        *(("registrations", at) for at in range(2)),
        ("reject", 14),
        ("recover", 14),
        ("recover", 15),
        ("route", 14),
    ],
)
async def test_the_other_keys_of_the_wrong_type_are_named_too(bench: Bench, script: str, at: int) -> None:
    call = CALLS[script](bench)
    bench.spoil(call.keys[at], "zset" if bench.kind(call.keys[at]) in ("hash", "string", "stream") else "string")
    if (script, at) in (("recover", 14), ("note", 1)):
        bench.spoil(call.keys[at], "hash")
    before = bench.space()
    with pytest.raises(QueueCorruptedError, match="holds a"):
        await bench.call(call.name, call.keys, call.arguments)
    assert bench.space() == before


async def test_standings_count_a_broken_key_as_empty(bench: Bench) -> None:
    (_, _, found) = bench.run(*_words(bench, "standings"))
    assert isinstance(found, list)
    broker, account = found
    assert broker[:8] == [-1, 3, 7, 2, 1, 1, 0, 0]
    assert 0 <= broker[8] < HOUR
    assert broker[17:] == [b"1000", b"1000", b"1000", []]
    assert [broker[9], *broker[11:14], *broker[15:17]] == [b"1", b"0", b"", b"1", b"0", b""]
    assert account == EMPTY
    for key in (bench.layout.presence("broker"), bench.layout.rejected("broker"), *bench.layout.broker.all):
        bench.spoil(key, "string" if not key.endswith((":id", ":pc", ":limiter")) else "list")
        bench.spoil(f"{bench.layout.broker.base}metrics:completed", "list")
        bench.spoil(f"{bench.layout.broker.base}metrics:failed", "list")
    assert bench.run(*_words(bench, "standings"))[2] == [EMPTY] * 2


async def test_standings_count_the_rejected_that_still_stand_among_the_failed(bench: Bench) -> None:
    failed, rejected = bench.key("failed"), bench.layout.rejected("broker")
    bench.redis.zadd(failed, {"rejected-1": 1, "rejected-2": 2})
    bench.redis.zadd(rejected, {"rejected-1": 1, "rejected-2": 2, "cleaned-by-a-tool": 3})
    (_, _, found) = bench.run(*_words(bench, "standings"))
    assert isinstance(found, list)
    assert found[0][5:7] == [3, 2]
    bench.spoil(rejected, "string")
    (_, _, found) = bench.run(*_words(bench, "standings"))
    assert isinstance(found, list)
    assert found[0][5:7] == [3, 0]


async def test_a_broken_job_counter_does_not_stop_a_registration(bench: Bench) -> None:
    bench.spoil(bench.key("id"), "list")
    assert bench.run(*_words(bench, "register"))[1] == b"changed"


# Big batches

MANY = 9_000


@pytest.fixture
async def many(redis_server: str, prefix: str) -> AsyncIterator[tuple[Bench, list[str]]]:
    bench = Bench(redis_server, prefix)
    jobs = [f"event-{number:05}" for number in range(MANY)]
    assert bench.add(*(ADD(job, copy=OPTS) for job in jobs))[2::2] == [b"added"] * MANY
    assert bench.redis.llen(bench.key("wait", queue="order")) == MANY
    assert len(bench.take(MANY)) == MANY
    yield bench, jobs
    await bench.close()


async def test_a_take_of_thousands_keeps_the_order(many: tuple[Bench, list[str]]) -> None:
    bench, jobs = many
    bench.add(*(ADD(f"more-{job}") for job in jobs), *(ADD(f"urgent-{job}", priority=1) for job in jobs))
    taken = bench.take(2 * MANY - 1, token="other")
    assert taken[:MANY] == [f"more-{job}".encode() for job in jobs]
    assert taken[MANY:] == [f"urgent-{job}".encode() for job in jobs[:-1]]


async def test_thousands_are_settled_and_trimmed(many: tuple[Bench, list[str]]) -> None:
    bench, jobs = many
    for kind, place in (("back", "wait"), ("completed", "completed")):
        words = [word for job in reversed(jobs) for word in outcome(kind, job, value="{}")]
        assert bench.run("settle", bench.layout.broker.all, [*order(MANY), *words])[2] == [b"settled"] * MANY
        assert place in ("wait", *bench.places(jobs[0]))
    bench.add(ADD("last"))
    bench.take(1)
    bench.run("settle", bench.layout.broker.all, [*order(0), *outcome("completed", "last", value="{}", count="1")])
    assert bench.redis.zcard(bench.key("completed")) == 1


async def test_thousands_are_routed(many: tuple[Bench, list[str]]) -> None:
    bench, jobs = many
    call = CALLS["route"](bench)
    words = [*call.arguments[:7], 0, *call.arguments[8:16], 1, 2, 1, 2, "{}", 1, TOKEN, "", MANY]
    for job in jobs:
        words += [job, "", f"digest-{job}"]
    assert bench.run("route", call.keys, words)[2] == [b"routed"] * MANY
    assert all(bench.redis.llen(bench.key("wait", queue=service)) == MANY for service in ("account", "shipping"))


async def test_thousands_are_renewed_and_recovered(many: tuple[Bench, list[str]]) -> None:
    bench, jobs = many
    words = [word for job in jobs for word in (job, TOKEN)]
    assert bench.run("renew", bench.layout.broker.all, [30_000, *words]) == [b"ok", []]
    bench.run(*_words(bench, "recover"))
    bench.redis.delete(bench.key("stalled-check"), *(bench.key(f"{job}:lock") for job in jobs))
    recovered = bench.run(*_words(bench, "recover"))[1]
    assert isinstance(recovered, list)
    assert len(recovered) == MANY


async def test_thousands_that_are_due_are_taken(many: tuple[Bench, list[str]]) -> None:
    bench, jobs = many
    words = [word for job in jobs for word in outcome("later", job, number=HOUR)]
    bench.run("settle", bench.layout.broker.all, [*order(0), *words])
    bench.redis.zadd(bench.key("delayed"), dict.fromkeys(jobs, 1))
    taken: list[bytes] = []
    while batch := bench.take(MANY, token="other"):
        taken += batch
    assert taken == [job.encode() for job in jobs]


# A full Redis


@pytest.mark.parametrize("script", CALLS)
async def test_a_full_redis_refuses_a_call_as_a_whole_or_does_all_of_it(
    start_server: StartServer, prefix: str, script: str
) -> None:
    bench = Bench(start_server(), prefix)
    bench.populate()
    call = CALLS[script](bench)
    before = bench.space()
    bench.redis.config_set("maxmemory", 1)
    try:
        await bench.call(call.name, call.keys, call.arguments)
        done = True
    except RedisOutOfMemoryError:
        done = False
        assert bench.space() == before
    bench.redis.config_set("maxmemory", 0)
    assert done == (script in FULL_ALLOWED)
    if not done:
        await bench.call(call.name, call.keys, call.arguments)
        assert bench.space() != before
    await bench.close()


FULL_ALLOWED = (
    "breaker",
    "breakers",
    "cancel",
    "clock",
    "sweep",
    "take",
    "settle",
    "renew",
    "registrations",
    "standings",
    "letters",
    "letter_ids",
    "discard",
)
"""What must go on in a full Redis, or work in hand is done twice and nothing ever gets free."""


def _words(bench: Bench, script: str) -> tuple[str, tuple[str, ...], tuple[str | bytes | int | float, ...]]:
    call = CALLS[script](bench)
    return call.name, call.keys, call.arguments


def _field(bench: Bench, job: str, field: str) -> bytes:
    return bytes(bench.redis.hget(bench.key(job), field) or b"")


def _bytes(value: object) -> bytes:
    assert isinstance(value, bytes)
    return value
