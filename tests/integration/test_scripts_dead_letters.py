"""Redriving, discarding and restoring on key spaces that somebody else has changed or broken."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import cast

import pytest

from hippo_messenger.queues.layout import QueueKeys
from tests.integration.scripts import CALLS, DATA, TOKEN, Bench

STRUCTURE = tuple(key.rpartition(":")[2] for key in QueueKeys("{p}", "q").all)
GARBAGE = (b"nan", b"-1", b"1e9", b"abc", b"", b"\xff", b"99999999999999999999", b'{"a":', b"[1e999]", b"null", b"[[]]")


@pytest.fixture
async def bench(redis_server: str, prefix: str) -> AsyncIterator[Bench]:
    bench = Bench(redis_server, prefix)
    bench.populate()
    bench.redis.hset(bench.layout.redrive("broker"), mapping={"token": TOKEN, "state": "running"})
    yield bench
    await bench.close()


def redrive(bench: Bench, *letters: tuple[str, str], data: str = "", token: str = TOKEN) -> list[object]:
    layout = bench.layout
    keys = (*layout.broker.all, layout.rejected("broker"), layout.redrive_lock("broker"), layout.redrive("broker"))
    words = [word for job, score in letters for word in (job, score, data, "")]
    return bench.run("redrive", keys, (1, token, 30_000, 0, 0, *words))


def discard(bench: Bench, *letters: tuple[str, str], act: str = "an act") -> list[object]:
    call = CALLS["discard"](bench)
    return bench.run("discard", call.keys, (1, act, "why not", *(word for letter in letters for word in letter)))


def dead(bench: Bench) -> tuple[str, str]:
    return "dead-1", bench.failed_at("dead-1")


async def test_a_letter_that_failed_again_since_is_another_one(bench: Bench) -> None:
    job, score = dead(bench)
    bench.redis.zadd(bench.key("failed"), {job: float(score) + 1})
    before = bench.space(without="redrive:")
    assert redrive(bench, (job, score)) == [b"ok", b"going", 0, [b"gone"]]
    assert discard(bench, (job, score)) == [b"ok", 0, 0]
    assert bench.space(without="redrive:") == before


async def test_what_is_named_twice_is_redriven_once(bench: Bench) -> None:
    assert redrive(bench, dead(bench), dead(bench)) == [b"ok", b"going", 1, [b"redriven", b"gone"]]
    assert bench.redis.lrange(bench.key("wait"), 0, -1).count(b"dead-1") == 1


@pytest.mark.parametrize("kind", ["missing", "string", "list"])
async def test_a_letter_without_a_hash_is_not_redriven_and_can_be_discarded(bench: Bench, kind: str) -> None:
    letter = dead(bench)
    bench.redis.delete(bench.key("dead-1"))
    if kind != "missing":
        bench.spoil(bench.key("dead-1"), kind)
    assert redrive(bench, letter)[2:] == [0, [b"its hash is gone, so nothing is left to redrive: discard it"]]
    assert bench.places("dead-1") == ["failed"]
    assert discard(bench, letter) == [b"ok", 1, 1]
    assert bench.places("dead-1") == []
    assert bench.kind(bench.key("dead-1")) == "none"


@pytest.mark.parametrize("name", STRUCTURE)
async def test_an_id_that_is_a_key_of_the_queue_is_left_alone(bench: Bench, name: str) -> None:
    bench.redis.zadd(bench.key("failed"), {name: 5})
    letter = (name, "5")
    before = bench.space(without="redrive:")
    assert redrive(bench, letter)[3] == [b"gone"]
    assert discard(bench, letter) == [b"ok", 0, 0]
    call = CALLS["restore"](bench)
    restoring = (1, name, "5", "", 2, "name", "X", 0)
    assert bench.run("restore", call.keys, restoring) == [b"ok", [b"known"]]
    read = cast("list[list[object]]", bench.run("letters", bench.layout.broker.all, (1 << 20, 1, 0, name))[1])
    assert read == [[[], []]]
    assert bench.space(without="redrive:") == before


@pytest.mark.parametrize(
    "field", ["priority", "opts", "finishedOn", "atm", "history", "failedReason", "parentKey", "stacktrace"]
)
async def test_whatever_stands_in_a_letter_it_is_redriven_whole(bench: Bench, field: str) -> None:
    for value in GARBAGE:
        letter = dead(bench)
        bench.redis.hset(bench.key("dead-1"), field, value)
        assert redrive(bench, letter, data=DATA)[3] == [b"redriven"], value
        assert len(bench.places("dead-1")) == 1
        history = json.loads(bench.redis.hget(bench.key("dead-1"), "history").decode(errors="replace"))
        assert "redrivenOn" in history[-1]
        bench.redis.delete(bench.key("wait"), bench.key("prioritized"))
        bench.redis.zadd(bench.key("failed"), {"dead-1": 7})


async def test_the_history_keeps_the_newest_failures(bench: Bench) -> None:
    for number in range(30):
        letter = dead(bench)
        bench.redis.hset(bench.key("dead-1"), "failedReason", f"number {number}")
        redrive(bench, letter)
        bench.redis.delete(bench.key("wait"))
        bench.redis.zadd(bench.key("failed"), {"dead-1": 7})
    history = json.loads(bench.redis.hget(bench.key("dead-1"), "history"))
    assert [failure["reason"] for failure in history] == [f"number {number}" for number in range(10, 30)]


async def test_a_child_whose_parent_is_broken_is_not_redriven(bench: Bench) -> None:
    parent = bench.key("parent", queue="account")
    bench.redis.hset(bench.key("dead-1"), mapping={"parentKey": parent})
    bench.redis.hset(parent, "name", "PARENT")
    bench.redis.set(f"{parent}:dependencies", "somebody's")
    before = bench.space(without="redrive:")
    reply = redrive(bench, dead(bench))
    assert reply[2] == 0
    assert f"{parent}:dependencies holds a string".encode() in cast("list[bytes]", reply[3])[0]
    assert bench.space(without="redrive:") == before


async def test_a_redrive_that_another_has_taken_over_does_nothing_more(bench: Bench) -> None:
    call = CALLS["redriving"](bench)
    began = bench.run("redriving", call.keys, ("begin", "other", 30_000))
    assert began[1] == b"begun"
    before = bench.space()
    assert redrive(bench, dead(bench)) == [b"ok", b"lost", 0, []]
    assert bench.space() == before
    bench.redis.delete(bench.layout.redrive_lock("broker"))  # its lease is over, but nobody else has begun
    assert redrive(bench, dead(bench), token="other")[1:3] == [b"going", 1]
    assert bench.run("redriving", call.keys, ("begin", "third", 30_000))[1] == b"busy"


@pytest.mark.parametrize("progress", GARBAGE)
async def test_a_progress_that_is_no_number_stops_nothing(bench: Bench, progress: bytes) -> None:
    bench.redis.hset(bench.layout.redrive("broker"), "redriven", progress)
    assert redrive(bench, dead(bench))[1:3] == [b"going", 1]


@pytest.mark.parametrize("entry", GARBAGE)
async def test_a_record_of_what_was_discarded_that_is_none_stops_nothing(bench: Bench, entry: bytes) -> None:
    bench.redis.lpush(bench.layout.discarded("broker"), entry)
    assert discard(bench, dead(bench)) == [b"ok", 1, 1]


async def test_a_discard_in_several_calls_is_one_entry_of_the_record(bench: Bench) -> None:
    first = dead(bench)
    bench.redis.hset(bench.key("dead-2"), "name", "X")
    bench.redis.zadd(bench.key("failed"), {"dead-2": 3})
    assert discard(bench, first) == [b"ok", 1, 1]
    assert discard(bench, ("dead-2", "3")) == [b"ok", 2, 2]
    assert discard(bench, ("dead-2", "3")) == [b"ok", 2, 2]
    assert bench.redis.llen(bench.layout.discarded("broker")) == 1


@pytest.mark.parametrize("job", ["held-1", "wait-1", "done-1", "dead-1"])
async def test_a_letter_whose_id_is_taken_is_not_restored(bench: Bench, job: str) -> None:
    call = CALLS["restore"](bench)
    before = bench.space()
    assert bench.run("restore", call.keys, (1, job, "5", "", 2, "name", "X", 0)) == [b"ok", [b"known"]]
    assert bench.space() == before
