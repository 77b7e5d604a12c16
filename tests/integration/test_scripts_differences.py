"""Where our scripts differ from BullMQ's on purpose, by the numbers of docs/decisions/0005."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from hippo_messenger.queues.call import Argument
from tests.integration.scripts import ADD, HOUR, Bench, order, outcome


@pytest.fixture
async def bench(redis_server: str, prefix: str) -> AsyncIterator[Bench]:
    bench = Bench(redis_server, prefix)
    yield bench
    await bench.close()


def marker(bench: Bench) -> dict[bytes, float]:
    return dict(bench.redis.zrange(bench.key("marker"), 0, -1, withscores=True))


def settle(bench: Bench, *outcomes: list[Argument], count: int = 0) -> None:
    words = [word for words in outcomes for word in words]
    assert bench.run("settle", bench.layout.broker.all, [*order(count), *words])[0] == b"ok"


async def test_1_a_take_leaves_a_marker_only_where_something_waits(bench: Bench) -> None:
    bench.add(ADD("one"), ADD("two"))
    bench.redis.delete(bench.key("marker"))  # as a waiting worker does
    bench.take(1)
    assert b"0" in marker(bench)
    bench.redis.delete(bench.key("marker"))
    bench.take(1)
    assert marker(bench) == {}


async def test_2_the_next_delayed_job_is_announced_also_by_a_call_that_took_one(bench: Bench) -> None:
    bench.add(ADD("later", delay=HOUR), ADD("now"), ADD("again"))
    bench.take(2)
    bench.redis.delete(bench.key("marker"))
    settle(bench, outcome("later", "now", number=HOUR), count=1)
    assert b"1" in marker(bench)


async def test_3_a_job_put_back_among_the_prioritised_wakes_a_worker(bench: Bench) -> None:
    bench.add(ADD("urgent", priority=3))
    bench.take(1)
    bench.redis.delete(bench.key("marker"))
    settle(bench, outcome("back", "urgent"))
    assert bench.places("urgent") == ["prioritized"]
    assert b"0" in marker(bench)


async def test_3_a_place_freed_under_a_global_concurrency_wakes_a_worker(bench: Bench) -> None:
    bench.redis.hset(bench.key("meta"), "concurrency", 1)
    bench.add(ADD("one"), ADD("two"), ADD("three"))
    bench.take(1)
    bench.redis.delete(bench.key("marker"))
    settle(bench, outcome("completed", "one", value="{}"))
    assert b"0" in marker(bench)
    bench.redis.delete(bench.key("marker"))
    bench.take(1)
    settle(bench, outcome("completed", "two", value="{}"), count=1)
    assert bench.places("three") == ["active"]
    assert marker(bench) == {}  # nothing is left for another one


async def test_4_the_events_stream_is_trimmed_once_for_a_batch_and_not_written_where_it_is_off(bench: Bench) -> None:
    bench.redis.hset(bench.key("meta"), "opts.maxLenEvents", 10)
    bench.add(*(ADD(f"job-{number}") for number in range(2000)))
    assert 10 <= bench.redis.xlen(bench.key("events")) < 400  # whole nodes of about 100 entries are dropped
    bench.redis.delete(bench.key("events"))
    bench.run("take", bench.layout.broker.all, [0, *order(5)[1:]])
    assert bench.redis.xlen(bench.key("events")) == 0


async def test_5_at_most_a_thousand_are_dropped_for_their_age_in_one_call(bench: Bench) -> None:
    bench.add(*(ADD(f"job-{number}") for number in range(1501)))
    bench.take(1500)
    settle(bench, *(outcome("completed", f"job-{number}", value="{}") for number in range(1500)))
    for number in range(1500):
        bench.redis.zadd(bench.key("completed"), {f"job-{number}": 1})
    bench.take(1)
    settle(bench, outcome("completed", "job-1500", value="{}", age="60"))
    assert bench.redis.zcard(bench.key("completed")) == 501


async def test_6_a_retry_that_takes_nothing_leaves_what_is_due_to_the_next_take(bench: Bench) -> None:
    bench.add(ADD("one"), ADD("due", delay=HOUR))
    bench.take(1)
    bench.redis.zadd(bench.key("delayed"), {"due": 1})
    settle(bench, outcome("retry", "one", value="why"))
    assert bench.places("due") == ["delayed"]
    bench.take(2)
    assert bench.places("due") == ["active"]


async def test_7_times_are_those_of_redis(bench: Bench) -> None:
    before = int(bench.redis.time()[0]) * 1000
    bench.add(ADD("one"), ADD("later", delay=HOUR))
    bench.take(1)
    settle(bench, outcome("completed", "one", value="{}"))
    after = (int(bench.redis.time()[0]) + 1) * 1000
    for field in ("timestamp", "processedOn", "finishedOn"):
        assert before <= int(bench.redis.hget(bench.key("one"), field)) <= after
    assert before + HOUR <= bench.redis.zscore(bench.key("delayed"), "later") / 0x1000 <= after + HOUR


async def test_12_a_delayed_parent_takes_a_place_of_its_own_among_those_due_at_once(bench: Bench) -> None:
    """Two parents of one delay that go on in one call: BullMQ gives both one score."""
    for parent in ("p-1", "p-2"):
        key = bench.key(parent)
        bench.redis.hset(key, mapping={"name": "P", "data": "{}", "opts": "{}", "timestamp": 1, "delay": HOUR})
        bench.redis.zadd(bench.key("waiting-children"), {parent: 1})
        bench.redis.sadd(f"{key}:dependencies", bench.key(f"child-of-{parent}"))
    children = ("child-of-p-1", "child-of-p-2")
    bench.add(*(ADD(child) for child in children))
    for child in children:
        bench.redis.hset(bench.key(child), "parentKey", bench.key(child.removeprefix("child-of-")))
    bench.take(2)
    settle(bench, *(outcome("completed", child, value="{}") for child in children))
    scores = dict(bench.redis.zrange(bench.key("delayed"), 0, -1, withscores=True))
    assert sorted(scores) == [b"p-1", b"p-2"]
    assert scores[b"p-2"] == scores[b"p-1"] + 1


@pytest.mark.parametrize("spoilt", ["another type", "no options", "torn"])
async def test_20_what_waits_for_a_deduplicated_job_but_is_none_stays_where_it_is(bench: Bench, spoilt: str) -> None:
    bench.add(ADD("one"))
    bench.redis.hset(bench.key("one"), "deid", "unique")
    bench.redis.set(bench.key("de:unique"), "one")
    if spoilt == "another type":
        bench.spoil(bench.key("dn:unique"), "list")
    else:
        fields = {"name": "x", "data": "{}", "opts": "none"} if spoilt == "no options" else {"name": "x"}
        bench.redis.hset(bench.key("dn:unique"), mapping=fields)
    before = bench.redis.dump(bench.key("dn:unique"))
    bench.take(1)
    settle(bench, outcome("completed", "one", value="{}"))
    assert bench.redis.dump(bench.key("dn:unique")) == before
    assert bench.places("one") == ["completed"]


async def test_21_a_delayed_job_with_a_negative_score_is_not_announced(bench: Bench) -> None:
    bench.add(ADD("never", delay=HOUR))
    bench.redis.zadd(bench.key("delayed"), {"never": -1})
    bench.redis.delete(bench.key("marker"))
    bench.take(1)
    bench.add(ADD("soon", delay=HOUR))
    due = bench.redis.zscore(bench.key("delayed"), "soon") / 0x1000
    assert marker(bench) == {b"1": due}
    assert bench.places("never") == ["delayed"]


async def test_26_children_added_to_a_job_that_had_completed_are_not_looked_for(bench: Bench) -> None:
    """What else stands beside a completed job goes with it, and all of it with a failed one."""
    names = ("logs", "processed", "failed", "dependencies", "unsuccessful")
    bench.add(*(ADD(job) for job in ("one", "bad", "two", "worse")))
    bench.take(4)
    settle(bench, outcome("completed", "one", value="{}"), outcome("failed", "bad", value="why"))
    besides = [f"{bench.key(job)}:{name}" for job in ("one", "bad") for name in names]
    bench.redis.mset(dict.fromkeys(besides, "x"))
    settle(bench, outcome("completed", "two", value="{}", count="1"), outcome("failed", "worse", value="y", count="1"))
    assert not bench.redis.exists(bench.key("one"), bench.key("bad"))
    left = [key for key in besides if bench.redis.exists(key)]
    assert left == [f"{bench.key('one')}:{name}" for name in ("dependencies", "unsuccessful")]
