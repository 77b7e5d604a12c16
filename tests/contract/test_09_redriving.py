"""Promise 9: a dead letter that is redriven runs again, once, whatever is killed or lost in between."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections import Counter
from typing import Any

import bullmq
import pytest
import redis.asyncio

from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService
from hippo_messenger.catalogue.model import EventData
from hippo_messenger.envelope import encode
from hippo_messenger.errors import DeadLetterError, RedriveUnderWayError
from hippo_messenger.job import HippoJob
from hippo_messenger.queues.dead_letters import Selection
from hippo_messenger.queues.letter_check import LetterCheck
from hippo_messenger.queues.redrive import RedrivePlan, RedriveProgress
from hippo_messenger.testing import Proxy, eventually
from tests.contract.bus import Bus, Recorder
from tests.contract.letters import (
    ALL,
    ONCE,
    ORDER,
    check,
    dead_letters,
    fail_some,
    put_failed,
    redriving,
    ten_thousand,
)
from tests.contract.test_05_routing import redrive as stock_retry
from tests.contract.test_10_unknown_types import OLD


async def test_ten_thousand_failures_in_three_groups_are_counted_exactly_and_all_redriven(bus: Bus) -> None:
    sizes = await ten_thousand(bus)

    groups = await dead_letters(bus).groups()

    assert {group.fingerprint.place.rpartition(":")[2]: group.count for group in groups} == sizes
    assert [group.fingerprint.error for group in groups] == ["ValueError", "KeyError", "OSError"]
    assert all(group.first is not None and group.last is not None for group in groups)
    redrive = redriving(bus)
    told: list[RedriveProgress] = []
    one = await redrive.run(RedrivePlan(Selection(group=groups[1].fingerprint.group, rejected=False)), told=told.append)
    assert (one.state, one.redriven, one.seen) == ("done", 3999, 3999)
    assert told[-1].redriven == 3999
    rest = await redrive.run(RedrivePlan(ALL))
    assert rest.redriven == 6001
    assert await bus.counts("account") == {"wait": 10_000}
    assert len(set(await bus.job_ids("account"))) == 10_000


async def test_a_redriven_job_is_what_bullmq_would_have_made_of_it_and_keeps_its_history(bus: Bus) -> None:
    (event_id,) = await fail_some(bus, 1)
    before = await bus.job("account", event_id)

    await redriving(bus).run(RedrivePlan(Selection(job_id=event_id)))

    after = await bus.job("account", event_id)
    history = json.loads(after.pop("history"))
    gone = {"finishedOn", "processedOn", "failedReason", "atm", "ats"}
    assert after == {name: value for name, value in before.items() if name not in gone}
    assert [(past["reason"], past["attempts"]) for past in history] == [("ValueError: no", 1)]
    assert str(history[0]["failedOn"]) == before["finishedOn"]
    messenger = bus.messenger(HippoService.ACCOUNT, retry=ONCE)
    await bus.worker(messenger, Recorder(raises=[KeyError("again")]))
    await bus.settled("account", failed=1)
    letter = await dead_letters(bus).letter(event_id)
    assert letter.reason == "KeyError: 'again'"
    assert [past.reason for past in letter.history] == ["ValueError: no"]
    assert letter.history[0].trace.endswith("ValueError: no\n")
    assert letter.traces[-1].endswith("KeyError: 'again'\n")
    assert letter.attempts == 1


@pytest.mark.parametrize(
    ("reason", "trace"),
    [
        (b"ValueError", "é" * 3000 + "x"),
        (b"ValueError", "\N{HIPPOPOTAMUS}" * 2000 + "xyz"),
        (b"\xff is no UTF-8", "short"),
    ],
)
async def test_no_text_of_a_failure_costs_a_job_its_history(bus: Bus, reason: bytes, trace: str) -> None:
    """Guards against a history that can't be read, since a trace was cut within a character, or was no text at all."""
    job_id = "not-ascii-00000001"
    await put_failed(bus, [job_id], reason="x", trace="")
    key = bus.queue("account").job(job_id)
    await bus.redis.hset(key, mapping={"failedReason": reason, "stacktrace": json.dumps([trace], ensure_ascii=False)})

    await redriving(bus).run(RedrivePlan(ALL))

    await bus.worker(bus.messenger(HippoService.ACCOUNT, retry=ONCE), Recorder(raises=[KeyError("again")]))
    await bus.settled("account", failed=1)
    letter = await dead_letters(bus).letter(job_id)
    assert letter.reason == "KeyError: 'again'"
    assert [past.reason for past in letter.history] == [reason.decode(errors="replace")]
    kept = letter.history[0].trace
    assert kept
    assert trace.endswith(kept)
    assert 4092 < len(kept.encode()) <= 4096 or kept == trace


async def test_the_oldest_goes_first_and_a_priority_is_kept(bus: Bus) -> None:
    ids = [f"ordered-{number:08d}" for number in range(5)]
    await put_failed(bus, ids, reason="x", trace="")
    await put_failed(bus, ["urgent-00000000001"], reason="x", trace="")
    await bus.redis.hset(bus.queue("account").job("urgent-00000000001"), "priority", 3)

    await redriving(bus).run(RedrivePlan(ALL))

    recorder = Recorder()
    await bus.worker(bus.messenger(HippoService.ACCOUNT), recorder, concurrency=1)
    await recorder.got(6)
    assert recorder.ids == [*ids, "urgent-00000000001"]


@pytest.mark.chaos
async def test_a_redrive_that_is_killed_and_repeated_loses_none_and_doubles_none(bus: Bus) -> None:
    ids = [f"killed-{number:012d}" for number in range(3000)]
    await put_failed(bus, ids, reason="x", trace="")
    recorder = Recorder()
    await bus.worker(bus.messenger(HippoService.ACCOUNT), recorder)
    victim = await command(bus, "failed", "redrive", "account", "--all", "--rate", "500")
    redrive = redriving(bus)

    async def half_way() -> None:
        progress = await redrive.progress()
        assert progress is not None
        assert progress.redriven >= 500

    await eventually(half_way, timeout=30)
    victim.send_signal(signal.SIGKILL)
    await victim.wait()
    left = await bus.count("account", "failed")
    assert 0 < left < 3000
    with pytest.raises(RedriveUnderWayError, match=r"redriven already by .*--cancel"):
        await redrive.run(RedrivePlan(ALL))

    async def over() -> None:
        progress = await redrive.progress()
        assert progress is not None
        assert progress.state == "interrupted"
        assert progress.redriven == 3000 - left

    await eventually(over, timeout=30)
    assert (await redrive.run(RedrivePlan(ALL))).redriven == left
    await recorder.got(3000)
    assert set(recorder.ids) == set(ids)


async def command(bus: Bus, *words: str) -> Process:
    environment = os.environ | {"HIPPO_REDIS_URL": bus.url, "HIPPO_PREFIX": bus.settings.prefix}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hippo_messenger", *words, env=environment, stdout=DEVNULL
    )

    def end() -> None:
        if process.returncode is None:
            process.kill()

    bus.stack.callback(end)
    return process


@pytest.mark.chaos
async def test_a_reply_lost_on_each_call_of_a_redrive_loses_none_and_doubles_none(bus: Bus, proxy: Proxy) -> None:
    ids = [f"dropped-{number:08d}" for number in range(250)]
    await put_failed(bus, ids, reason="x", trace="")
    redrive = redriving(bus, url=proxy.url)
    seen: list[int] = []

    def lose_the_next(progress: RedriveProgress) -> None:
        seen.append(progress.redriven)
        proxy.drop_replies(1)

    assert await redrive.progress() is None
    proxy.drop_replies(1)
    done = await redrive.run(RedrivePlan(ALL), told=lose_the_next)

    assert (done.redriven, done.state) == (250, "done")
    assert seen[-1] == 250
    assert proxy.dropped >= 3
    assert sorted(await bus.job_ids("account")) == ids


async def test_what_fails_again_while_it_is_redriven_is_not_redriven_twice(bus: Bus) -> None:
    ids = [f"again-{number:012d}" for number in range(300)]
    await put_failed(bus, ids, reason="x", trace="")
    runs: Counter[str] = Counter()

    async def fail(job: HippoJob[EventData]) -> None:
        runs[job.id] += 1
        raise ValueError("still broken")

    unchecked = bus.settings.model_copy(update={"breaker_attempts": 0})  # all of it fails, on purpose and at once
    await bus.worker(bus.messenger(HippoService.ACCOUNT, settings=unchecked), fail)
    await redriving(bus).run(RedrivePlan(ALL, rate=600))
    await bus.settled("account", failed=300)
    assert set(runs.values()) == {1}


async def test_a_retry_by_stock_bullmq_coexists_with_a_redrive(bus: Bus) -> None:
    first, second, third = await fail_some(bus, 3)
    await stock_retry(bus, "account", second)
    done = await redriving(bus).run(RedrivePlan(ALL))
    assert done.redriven == 2
    recorder = Recorder()
    await bus.worker(bus.messenger(HippoService.ACCOUNT), recorder)
    await recorder.got(3)
    assert sorted(recorder.ids) == sorted([first, second, third])


async def test_stock_bullmq_retries_what_was_redriven_and_failed_again_and_removes_it(bus: Bus) -> None:
    (event_id,) = await fail_some(bus, 1)
    await redriving(bus).run(RedrivePlan(ALL))
    worker = await bus.worker(bus.messenger(HippoService.ACCOUNT), Recorder(raises=[ValueError("again")]))
    await bus.settled("account", failed=1)
    await worker.stop()
    await stock_retry(bus, "account", event_id)
    await bus.settled("account", wait=1)
    client = redis.asyncio.Redis.from_url(bus.url, decode_responses=True)
    queue: Any = bullmq.Queue("account", {"connection": client, "prefix": bus.settings.prefix})
    job = await queue.getJob(event_id)
    assert job.attemptsMade == 1
    await job.remove()
    assert await bus.job("account", event_id) == {}
    await queue.close()


async def test_only_one_redrive_of_a_queue_at_a_time_and_it_can_be_watched_and_cancelled(bus: Bus) -> None:
    await put_failed(bus, [f"slow-{number:012d}" for number in range(50)], reason="x", trace="")
    redrive, watcher = redriving(bus), redriving(bus)
    assert await watcher.cancel() is False
    running = asyncio.create_task(redrive.run(RedrivePlan(ALL, rate=1, total=50)))

    async def under_way() -> None:
        progress = await watcher.progress()
        assert progress is not None
        assert (progress.state, progress.total) == ("running", 50)
        assert progress.redriven >= 1

    await eventually(under_way)
    with pytest.raises(RedriveUnderWayError):
        await watcher.run(RedrivePlan(ALL))
    assert await watcher.cancel() is True
    done = await running
    assert done.state == "cancelled"
    seen = await watcher.progress()
    assert seen is not None
    assert (seen.state, seen.redriven) == ("cancelled", done.redriven)
    assert await bus.counts("account") == {"wait": done.redriven, "failed": 50 - done.redriven}
    seven = await watcher.run(RedrivePlan(ALL, limit=7))
    assert (seven.redriven, seven.seen) == (7, 7)
    assert await bus.count("account", "wait") == done.redriven + 7


async def test_a_redrive_that_was_interrupted_says_so_and_lets_the_next_one_begin(bus: Bus) -> None:
    await put_failed(bus, [f"stop-{number:012d}" for number in range(50)], reason="x", trace="")
    redrive = redriving(bus)
    running = asyncio.create_task(redrive.run(RedrivePlan(ALL, rate=1)))

    async def under_way() -> None:
        progress = await redrive.progress()
        assert progress is not None
        assert progress.redriven >= 1

    await eventually(under_way)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    seen = await redrive.progress()
    assert seen is not None
    assert seen.state == "interrupted"
    assert (await redrive.run(RedrivePlan(ALL))).redriven == 50 - seen.redriven


async def test_only_what_is_valid_under_todays_catalogue_is_redriven_when_asked_so(bus: Bus) -> None:
    await put_failed(bus, ["valid-0000000000001", "valid-0000000000002", "wrong-0000000000001"], reason="x", trace="")
    wrong = encode(event_id="wrong-0000000000001", source="order", event_type="ORDER_SUCCESS", data=b'{"total":"x"}')
    await bus.redis.hset(bus.queue("account").job("wrong-0000000000001"), "data", wrong)
    plan = RedrivePlan(ALL, fault=check().fault)

    preview = await redriving(bus).preview(plan)
    assert (preview.state, preview.redriven, preview.passed_over) == ("dry run", 2, 1)
    assert await bus.counts("account") == {"failed": 3}
    done = await redriving(bus).run(plan)

    assert (done.redriven, done.passed_over) == (2, 1)
    assert "orderId: required" in next(iter(done.faults))
    assert [job["id"] for job in await bus.failed("account")] == ["wrong-0000000000001"]
    with pytest.raises(DeadLetterError, match="orderId: required"):
        await redriving(bus).run(RedrivePlan(Selection(job_id="wrong-0000000000001"), fault=check().fault))


async def test_an_unknown_type_at_the_broker_is_redriven_after_its_catalogue_is_updated(bus: Bus) -> None:
    old = await bus.broker(catalogue=OLD)
    await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    event_id = await bus.messenger(HippoService.ORDER).send(ORDER)
    await bus.settled("broker", completed=1, failed=1)
    (group,) = await dead_letters(bus, "broker").groups()
    assert (group.fingerprint.event_type, group.fingerprint.error) == ("ORDER_SUCCESS", "UnknownEventTypeError")
    outdated = LetterCheck(OLD, queue="broker", max_bytes=1 << 20)
    assert (await redriving(bus, "broker").run(RedrivePlan(ALL, fault=outdated.fault))).passed_over == 1

    await old.stop()
    await bus.broker()
    done = await redriving(bus, "broker").run(RedrivePlan(ALL, fault=check("broker").fault))

    assert done.redriven == 1
    await bus.settled("account", wait=1)
    assert await bus.job_ids("account") == [event_id]


async def test_a_parked_copy_is_delivered_to_its_service_alone_when_redriven(bus: Bus) -> None:
    await bus.broker()
    await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    await bus.listener(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS)
    await bus.redis.set(bus.queue("account").base + "wait", "somebody's")
    event_id = await bus.messenger(HippoService.ORDER).send(ORDER)
    await bus.settled("shipping", wait=1)
    await bus.redis.delete(bus.queue("account").base + "wait")

    (group,) = await dead_letters(bus, "broker").groups()
    assert group.fingerprint.error.startswith("not delivered to account")
    await redriving(bus, "broker").run(RedrivePlan(ALL))

    await bus.settled("account", wait=1)
    assert await bus.job_ids("account") == [event_id]
    assert await bus.job_ids("shipping") == [event_id]
