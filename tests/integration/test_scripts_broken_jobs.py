"""Job hashes that somebody else has broken: each harms that job alone, and what is left of it stays in sight."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from tests.integration.scripts import ADD, CALLS, HOUR, WRONG, Bench, order, outcome, taken_ids

VICTIM = "held-2"
GARBAGE = ("nan", "-nan", "inf", "-1", "1.5", "1e9", "0x10", "abc", "", " 1", "007", "99999999999999999999")


@pytest.fixture
async def bench(redis_server: str, prefix: str) -> AsyncIterator[Bench]:
    bench = Bench(redis_server, prefix)
    try:
        bench.populate()
        yield bench
    finally:
        await bench.close()


Break = Callable[[Bench, str], object]


def _set(field: str, value: str) -> Break:
    return lambda bench, key: bench.redis.hset(key, field, value)


def _without(*fields: str) -> Break:
    return lambda bench, key: bench.redis.hdel(key, *fields)


def _as(kind: str) -> Break:
    return lambda bench, key: bench.spoil(key, kind)


def _deduplicated_by_a_hash(bench: Bench, key: str) -> None:
    bench.redis.hset(key, "deid", "one")
    bench.spoil(bench.key("de:one"), "hash")
    bench.spoil(bench.key("dn:one"), "string")


def _followed_by_garbage(bench: Bench, key: str) -> None:
    bench.redis.hset(key, "deid", "one")
    bench.redis.hset(bench.key("dn:one"), mapping={"name": "x", "data": "x", "opts": '{"de":7}'})


NO_JOB: dict[str, Break] = {
    "gone": lambda bench, key: bench.redis.delete(key),
    **{f"a {kind}": _as(kind) for kind in WRONG if kind != "hash"},
    "empty": _as("hash"),
}
TORN: dict[str, Break] = {"no name": _without("name"), "no data": _without("data")}
ODD: dict[str, Break] = {
    "no opts": _without("opts"),
    "opts no JSON": _set("opts", "{"),
    "opts no object": _set("opts", "[1]"),
    "opts deep": _set("opts", "[" * 2000),
    "data no JSON": _set("data", "\xff{"),
    "parent key of nothing": _set("parentKey", "x"),
    "parent key empty": _set("parentKey", ""),
    "parent key that ends": _set("parentKey", "x:"),
    "parent no JSON": lambda bench, key: bench.redis.hset(key, mapping={"parentKey": "a:b:c", "parent": "{"}),
    "parent no object": lambda bench, key: bench.redis.hset(key, mapping={"parentKey": "a:b:c", "parent": "7"}),
    "parent of numbers": lambda bench, key: bench.redis.hset(
        key, mapping={"parentKey": "a:b:c", "parent": '{"id":1,"queueKey":{}}'}
    ),
    "deduplicated by nothing": _set("deid", ""),
    "deduplicated by a hash": _deduplicated_by_a_hash,
    "followed by garbage": _followed_by_garbage,
    **{
        f"{field} {value!r}": _set(field, value)
        for field in ("timestamp", "delay", "priority", "atm", "ats", "stc", "processedOn")
        for value in GARBAGE
    },
}


@pytest.mark.parametrize("fault", NO_JOB)
@pytest.mark.parametrize("line", ["wait", "prioritized", "delayed"])
async def test_take_passes_over_what_is_no_job(bench: Bench, fault: str, line: str) -> None:
    _line_up(bench, line)
    NO_JOB[fault](bench, bench.key("b"))
    taken = _take(bench)
    assert taken_ids(taken) == [b"a", b"c"]
    assert taken[1] == [b"b"]
    assert bench.places("b") == []
    assert bench.kind(bench.key("b")) != "hash" or fault == "empty", "no ghost of a job is left"


@pytest.mark.parametrize("fault", TORN)
@pytest.mark.parametrize("line", ["wait", "prioritized", "delayed"])
async def test_take_shows_a_torn_job_among_the_failed(bench: Bench, fault: str, line: str) -> None:
    _line_up(bench, line)
    TORN[fault](bench, bench.key("b"))
    taken = _take(bench)
    assert taken_ids(taken) == [b"a", b"c"]
    assert taken[1] == [b"b"]
    assert bench.places("b") == ["failed"]
    assert b"lost its name or its data" in _field(bench, "b", "failedReason")


@pytest.mark.parametrize("fault", ODD)
@pytest.mark.parametrize("line", ["wait", "prioritized", "delayed"])
async def test_take_hands_out_an_odd_job_like_any_other(bench: Bench, fault: str, line: str) -> None:
    _line_up(bench, line)
    ODD[fault](bench, bench.key("b"))
    assert sorted(taken_ids(_take(bench))) == [b"a", b"b", b"c"]
    assert [bench.places(job) for job in "abc"] == [["active"]] * 3


async def test_take_passes_over_thousands_of_dead_ids(bench: Bench) -> None:
    bench.redis.delete(bench.key("wait"))
    bench.add(ADD("alive"))
    bench.redis.rpush(bench.key("wait"), *(f"nobody-{number}" for number in range(2500)))
    calls = 0
    while (taken := _take(bench, 1)) and not taken[0]:
        calls += 1
        assert taken[4] == 1, "more is waiting"
        assert calls < 10
    assert taken_ids(taken) == [b"alive"]


@pytest.mark.parametrize("kind", ["completed", "failed", "retry", "later", "back"])
@pytest.mark.parametrize("fault", [*NO_JOB, *TORN, *ODD])
async def test_settle_ends_the_neighbours_of_a_broken_job(bench: Bench, fault: str, kind: str) -> None:
    bench.redis.delete(bench.key("delayed"), bench.key("completed"), bench.key("failed"))
    (NO_JOB | TORN | ODD)[fault](bench, bench.key(VICTIM))
    words = [
        word for job in ("held-1", VICTIM, "held-3") for word in outcome(kind, job, value="{}", number=HOUR, count="5")
    ]
    reply = bench.run("settle", bench.layout.broker.all, [*order(0), *words])
    there = {"completed": "completed", "failed": "failed", "back": "wait"}.get(kind, "delayed")
    gone = fault in NO_JOB and fault != "empty"
    assert reply[2] == [b"settled", b"gone" if gone else b"settled", b"settled"]
    assert [bench.places(job) for job in ("held-1", "held-3")] == [[there]] * 2
    assert len(bench.places(VICTIM)) == (0 if gone else 1)
    assert not bench.redis.exists(bench.key(f"{VICTIM}:lock"))


@pytest.mark.parametrize("fault", [*NO_JOB, *TORN, *ODD])
async def test_route_delivers_the_neighbours_of_a_broken_job(bench: Bench, fault: str) -> None:
    (NO_JOB | TORN | ODD)[fault](bench, bench.key(VICTIM))
    reply = bench.run(*_words(bench, "route"))
    whole = fault in ODD
    assert reply[2] == [b"routed", b"routed" if whole else b"gone", b"routed"]
    for job in ("held-1", "held-3", *([VICTIM] if whole else [])):
        assert bench.places(job) == ["completed"]
        assert all(len(bench.places(job, queue=service)) == 1 for service in ("account", "shipping"))
    if not whole:
        assert bench.places(VICTIM, queue="account") == bench.places(VICTIM, queue="shipping") == []
    if fault in TORN:
        assert bench.places(VICTIM) == ["failed"]


@pytest.mark.parametrize("fault", [*NO_JOB, *TORN, *ODD])
async def test_recover_puts_back_the_neighbours_of_a_broken_job(bench: Bench, fault: str) -> None:
    bench.redis.delete(*(bench.key(f"{job}:lock") for job in ("held-1", VICTIM, "held-3")))
    bench.redis.sadd(bench.key("stalled"), "held-1", VICTIM, "held-3")
    (NO_JOB | TORN | ODD)[fault](bench, bench.key(VICTIM))
    assert bench.run(*_words(bench, "recover"))[0] == b"ok"
    assert [bench.places(job) for job in ("held-1", "held-3", "stalled-1")] == [["wait"]] * 3
    assert "active" not in bench.places(VICTIM)


@pytest.mark.parametrize("fault", [*NO_JOB, *TORN, *ODD])
async def test_retention_drops_broken_jobs_too(bench: Bench, fault: str) -> None:
    (NO_JOB | TORN | ODD)[fault](bench, bench.key("done-1"))
    words = outcome("completed", "held-1", value="{}", count="1")
    bench.run("settle", bench.layout.broker.all, [*order(0), *words])
    assert bench.redis.zrange(bench.key("completed"), 0, -1) == [b"held-1"]
    assert not bench.redis.exists(bench.key("done-1"))


OF_THE_PARENT = {
    "parent": "hash",
    "parent:dependencies": "set",
    "parent:processed": "hash",
    "wait": "list",
    "meta": "hash",
}


@pytest.mark.parametrize(
    ("key", "kind"),
    [(f"account:{key}", kind) for key, right in OF_THE_PARENT.items() for kind in WRONG if kind != right],
)
async def test_a_child_whose_parent_can_not_be_told_fails_and_can_be_redriven(
    bench: Bench, key: str, kind: str
) -> None:
    parent, child = f"{bench.layout.prefix}:account:parent", bench.key("held-1")
    bench.redis.hset(parent, "name", "parent")
    bench.redis.sadd(f"{parent}:dependencies", child)
    bench.redis.zadd(f"{bench.layout.prefix}:account:waiting-children", {"parent": 1})
    bench.redis.hset(child, "parentKey", parent)
    bench.spoil(f"{bench.layout.prefix}:{key}", kind)
    before = {name: dump for name, dump in bench.space().items() if name.startswith("account:")}
    words = [*outcome("completed", "held-1", value="{}"), *outcome("completed", "held-2", value="{}")]
    reply = bench.run("settle", bench.layout.broker.all, [*order(0), *words])
    assert reply[2] == [b"settled"] * 2
    assert (bench.places("held-1"), bench.places("held-2")) == (["failed"], ["completed"])
    assert key.encode() in _field(bench, "held-1", "failedReason")
    assert {name: dump for name, dump in bench.space().items() if name.startswith("account:")} == before


async def test_a_job_with_children_left_is_not_completed(bench: Bench) -> None:
    bench.redis.sadd(f"{bench.key('held-1')}:dependencies", "x")
    bench.run("settle", bench.layout.broker.all, [*order(0), *outcome("completed", "held-1", value="{}")])
    assert bench.places("held-1") == ["failed"]
    assert b"pending" in _field(bench, "held-1", "failedReason")


async def test_a_job_with_a_failed_child_is_not_completed(bench: Bench) -> None:
    """As BullMQ leaves both; the differential scenario "fail a child that was added while its parent ran" shows it."""
    bench.redis.zadd(f"{bench.key('held-1')}:unsuccessful", {"x": 1})
    bench.redis.hset(bench.key("held-1"), "defa", "child x failed")
    bench.run("settle", bench.layout.broker.all, [*order(0), *outcome("completed", "held-1", value="{}")])
    assert bench.places("held-1") == ["failed"]
    assert b"failed child" in _field(bench, "held-1", "failedReason")


async def test_a_job_that_failed_for_its_children_fails_again_when_it_is_retried_as_new(bench: Bench) -> None:
    """Guards against a failure without a trace: BullMQ's retry may take away all else that tells it from a new one."""
    key = bench.key("held-1")
    bench.redis.sadd(f"{key}:dependencies", "x")
    complete = [*order(0), *outcome("completed", "held-1", value="{}")]
    bench.run("settle", bench.layout.broker.all, complete)
    bench.redis.delete(f"{key}:dependencies")  # the child fails; of a failed parent BullMQ notes it only so:
    bench.redis.zadd(f"{key}:unsuccessful", {"x": 1})
    bench.redis.zrem(bench.key("failed"), "held-1")  # BullMQ's reprocessJob, which is to forget attempts too
    bench.redis.hdel(key, "finishedOn", "processedOn", "failedReason", "atm", "ats")
    bench.redis.rpush(bench.key("wait"), "held-1")
    bench.run("take", bench.layout.broker.all, order(1))
    bench.run("settle", bench.layout.broker.all, complete)
    assert bench.places("held-1") == ["failed"]


async def test_a_job_that_somebody_took_out_of_active_ends_all_the_same(bench: Bench) -> None:
    bench.redis.delete(bench.key("active"))
    assert bench.run(*_words(bench, "settle"))[2] == [b"settled"] * 6
    assert all(len(bench.places(f"held-{number}")) == 1 for number in range(2, 7))


def _words(bench: Bench, script: str) -> tuple[str, tuple[str, ...], tuple[str | bytes | int | float, ...]]:
    call = CALLS[script](bench)
    return call.name, call.keys, call.arguments


def _line_up(bench: Bench, line: str) -> None:
    bench.redis.delete(bench.key("wait"), bench.key("prioritized"), bench.key("delayed"))
    bench.add(*(ADD(job, priority=int(line == "prioritized"), delay=HOUR * (line == "delayed")) for job in "abc"))
    if line == "delayed":
        bench.redis.zadd(bench.key("delayed"), {"a": 1, "b": 2, "c": 3})


def _take(bench: Bench, count: int = 10) -> list[object]:
    taken = bench.run("take", bench.layout.broker.all, order(count, token="new"))[1]
    assert isinstance(taken, list)
    return taken


def _field(bench: Bench, job: str, field: str) -> bytes:
    return bytes(bench.redis.hget(bench.key(job), field) or b"")
