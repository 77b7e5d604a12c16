"""Promise 9: a dead letter stays until somebody redrives, edits or discards it, and none is lost or doubled by that."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import bullmq
import pytest
import redis.asyncio

from hippo_messenger.catalogue import golden_hippo
from hippo_messenger.catalogue.golden_hippo import AccountRegistered, HippoEvent, HippoService, OrderSuccess
from hippo_messenger.catalogue.model import EventData
from hippo_messenger.envelope import encode, new_event_id
from hippo_messenger.errors import DeadLetterError, EventValidationError, RedriveUnderWayError, UnknownDeadLetterError
from hippo_messenger.job import HippoJob
from hippo_messenger.queues.connection import Connection
from hippo_messenger.queues.dead_letters import DeadLetters, Selection
from hippo_messenger.queues.letter_archive import LetterArchive
from hippo_messenger.queues.letter_check import LetterCheck
from hippo_messenger.queues.letter_edit import LetterEdit
from hippo_messenger.queues.redrive import Redrive, RedrivePlan, RedriveProgress
from hippo_messenger.retry import RetryPolicy
from tests.contract.bus import Bus, Recorder
from tests.contract.test_05_routing import redrive as stock_retry
from tests.contract.test_10_unknown_types import OLD
from tests.eventually import eventually
from tests.proxy import FlakyProxy

ORDER = OrderSuccess(order_id="A-1", total=Decimal(1))
ALL = Selection(rejected=False)
ONCE = RetryPolicy(attempts=1)


def dead_letters(bus: Bus, queue: str = "account", *, url: str | None = None) -> DeadLetters:
    return DeadLetters(connection(bus, url), queue=queue, settings=bus.settings)


def redriving(bus: Bus, queue: str = "account", *, url: str | None = None) -> Redrive:
    return Redrive(connection(bus, url), queue=queue, settings=bus.settings)


def connection(bus: Bus, url: str | None) -> Connection:
    opened = Connection.of(url or bus.url, settings=bus.settings)
    bus.stack.push_async_callback(opened.close)
    return opened


def check(queue: str = "account") -> LetterCheck:
    return LetterCheck(golden_hippo.CATALOGUE, queue=queue, max_bytes=1 << 20)


async def fail_some(bus: Bus, count: int, *, error: Exception | None = None) -> list[str]:
    """Events that a worker of account has failed for good; the worker is gone again."""
    messenger = bus.messenger(HippoService.ACCOUNT, retry=ONCE)
    known = await bus.count("account", "failed")
    ids = await messenger.send_many([ORDER] * count, notify_self=True)
    worker = await bus.worker(messenger, Recorder(raises=[error or ValueError("no")] * count))
    await bus.settled("account", failed=known + count)
    await worker.stop()
    return list(ids)


async def put_failed(bus: Bus, ids: Iterable[str], *, reason: str, trace: str, first: int = 1_700_000_000_000) -> None:
    """Dead letters as workers leave them, written straight into Redis."""
    base = bus.queue("account").base
    async with bus.redis.pipeline(transaction=False) as pipeline:
        for number, job_id in enumerate(ids):
            data = encode(
                event_id=job_id, source="order", event_type="ORDER_SUCCESS", data=b'{"orderId":"A","total":"1"}'
            )
            fields = {
                "name": "ORDER_SUCCESS",
                "data": data,
                "opts": '{"attempts":1}',
                "timestamp": first,
                "delay": 0,
                "priority": 0,
                "processedOn": first + number // 40,
                "finishedOn": first + number // 40,
                "atm": 1,
                "ats": 1,
                "failedReason": reason,
                "stacktrace": json.dumps([trace]),
            }
            pipeline.hset(base + job_id, mapping=fields)
            pipeline.zadd(base + "failed", {job_id: first + number // 40})
        await pipeline.execute()


TRACE = """Traceback (most recent call last):
  File "/srv/.venv/lib/python3.12/site-packages/hippo_messenger/processing.py", line 132, in process
    returned = await self._run(processor, event)
  File "/srv/app/{0}.py", line 41, in {0}
    raise {1}("no")
{1}: no
"""


async def ten_thousand(bus: Bus) -> dict[str, int]:
    """10,000 dead letters in three groups, by the place of each."""
    sizes = {"charge": 6000, "refund": 3999, "ship": 1}
    for place, (count, error) in zip(sizes, [(6000, "ValueError"), (3999, "KeyError"), (1, "OSError")], strict=True):
        ids = [f"{place}-{number:08d}-letter" for number in range(count)]
        await put_failed(bus, ids, reason=f"{error}: no", trace=TRACE.format(place, error))
    return sizes


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
async def test_a_reply_lost_on_each_call_of_a_redrive_loses_none_and_doubles_none(bus: Bus, proxy: FlakyProxy) -> None:
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


async def test_rejected_events_are_shown_apart_and_only_redriven_edited(bus: Bus) -> None:
    await bus.broker()
    await bus.listener(HippoService.ACCOUNT, HippoEvent.ACCOUNT_REGISTERED)
    sender = bus.messenger(HippoService.ORDER)
    with pytest.raises(EventValidationError):
        await sender.send(event_type=HippoEvent.ACCOUNT_REGISTERED, data={"verificationToken": "s3cret"})
    letters, redrive = dead_letters(bus, "broker"), redriving(bus, "broker")
    (group,) = await letters.groups()
    assert group.is_rejected
    assert await letters.count() == 0
    assert (await redrive.run(RedrivePlan(ALL))).redriven == 0
    with pytest.raises(DeadLetterError, match="turned away at send"):
        await redrive.run(RedrivePlan(Selection(job_id=group.example)))

    letter = await letters.letter(group.example)
    edit = LetterEdit(letter, check("broker"))
    assert json.loads(edit.data_to_edit) == {"verificationToken": "***"}
    with pytest.raises(EventValidationError, match="verificationToken: the secret itself"):
        edit.edited({"accountId": "B-1", "verificationToken": "***"})
    data = edit.edited({"accountId": "B-1", "verificationToken": "s3cret"})
    await redrive.run_edited(letter, data=data, options=edit.options)

    await bus.settled("account", wait=1)
    (job_id,) = await bus.job_ids("account")
    job = await bus.job("account", job_id)
    assert job["data"]["data"] == {"accountId": "B-1", "verificationToken": "s3cret"}
    assert job["data"]["source"] == "order"
    assert await bus.redis.zcard(bus.layout.rejected("broker")) == 0


async def test_an_invalid_edit_is_refused_with_its_fields_named_and_changes_nothing(bus: Bus) -> None:
    (event_id,) = await fail_some(bus, 1)
    before = await bus.job("account", event_id)
    edit = LetterEdit(await dead_letters(bus).letter(event_id), check())

    with pytest.raises(EventValidationError) as caught:
        edit.edited({"total": "no number", "items": "none"})

    assert {error.path for error in caught.value.fields} == {"orderId", "total", "items"}
    assert await bus.job("account", event_id) == before


async def test_an_edited_letter_runs_with_its_new_data_and_keeps_the_original_and_its_secrets(bus: Bus) -> None:
    messenger = bus.messenger(HippoService.ACCOUNT, retry=ONCE)
    worker = await bus.worker(messenger, Recorder(raises=[ValueError("no")]))
    sent = AccountRegistered(account_id="B-2", verification_token="s3cret")
    event_id = await messenger.send(sent, notify_self=True)
    await bus.settled("account", failed=1)
    await worker.stop()
    letter = await dead_letters(bus).letter(event_id)
    assert check().shown(letter)["data"] == {  # type: ignore[index]
        "accountId": "B-2",
        "verificationToken": "***",
    }
    edit = LetterEdit(letter, check())
    new = json.loads(edit.data_to_edit) | {"country": "US"}
    await redriving(bus).run_edited(letter, data=edit.edited(new))

    recorder = Recorder()
    await bus.worker(bus.messenger(HippoService.ACCOUNT), recorder)
    (job,) = await recorder.got(1)
    assert job.id == event_id
    assert job.data == AccountRegistered(account_id="B-2", verification_token="s3cret", country="US")
    (past,) = json.loads((await bus.job("account", event_id))["history"])
    assert json.loads(past["data"])["data"] == {"accountId": "B-2", "verificationToken": "s3cret"}
    with pytest.raises(UnknownDeadLetterError):
        await redriving(bus).run_edited(letter, data=edit.edited(new))
    assert await bus.count("account", "wait") == 0


async def test_discarding_needs_a_reason_is_counted_and_leaves_nothing(bus: Bus) -> None:
    ids = [f"waste-{number:012d}" for number in range(250)]
    await put_failed(bus, ids, reason="ValueError: no", trace=TRACE.format("charge", "ValueError"))
    letters = dead_letters(bus)
    for reason in ("", "  ", "x" * 501):
        with pytest.raises(DeadLetterError, match="expected a reason"):
            await letters.discard(ALL, reason=reason)
    assert await bus.count("account", "failed") == 250

    one = await letters.discard(Selection(job_id=ids[0]), reason="a test order")
    assert (one.count, one.total) == (1, 1)
    (group,) = await letters.groups()
    rest = await letters.discard(Selection(group=group.fingerprint.group, rejected=False), reason="of a test customer")

    assert (rest.count, rest.total) == (249, 250)
    assert await bus.counts("account") == {}
    assert [key async for key in bus.redis.scan_iter(bus.queue("account").base + "waste*")] == []
    record = [json.loads(entry) for entry in await bus.redis.lrange(bus.layout.discarded("account"), 0, -1)]
    assert [(entry["reason"], entry["count"], entry["total"]) for entry in record] == [
        ("of a test customer", 249, 250),
        ("a test order", 1, 1),
    ]


async def test_dead_letters_go_out_as_lines_and_come_back_exactly_and_once(bus: Bus) -> None:
    ids = await fail_some(bus, 3)
    base = bus.queue("account").base
    await bus.redis.hset(base + ids[0], mapping={"odd": b"\xff\xfe no text", b"n\xe9": "x"})
    await bus.redis.rpush(base + ids[0] + ":logs", "one", b"\x80")
    before = {key: await bus.redis.dump(key) for key in [base + ids[0] + ":logs"]}
    hashes = {job_id: await bus.redis.hgetall(base + job_id) for job_id in ids}
    scores = await bus.redis.zrange(base + "failed", 0, -1, withscores=True)
    letters, archive = dead_letters(bus), LetterArchive(bus.queue("account"))
    lines = [
        archive.to_line(letter) async for page in letters.pages(ALL, fields=("*",), with_logs=True) for letter in page
    ]
    await letters.discard(ALL, reason="they are exported")
    assert await bus.counts("account") == {}

    assert list(await letters.restore([archive.from_line(line) for line in lines])) == [True] * 3
    assert list(await letters.restore([archive.from_line(line) for line in lines])) == [False] * 3

    assert {job_id: await bus.redis.hgetall(base + job_id) for job_id in ids} == hashes
    assert await bus.redis.zrange(base + "failed", 0, -1, withscores=True) == scores
    assert {key: await bus.redis.dump(key) for key in before} == before
    assert (await redriving(bus).run(RedrivePlan(ALL))).redriven == 3


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("no json", "as JSON"),
        ("[1]", "the whole"),
        ('{"queue":"account","id":"x"}', "failedOn"),
        ('{"queue":"billing","id":"x","failedOn":"1","fields":{"name":"X"}}', "one of 'billing'"),
        ('{"queue":"account","id":"meta","failedOn":"1","fields":{"name":"X"}}', "a key of the queue"),
        ('{"queue":"account","id":"x","failedOn":"nan","fields":{"name":"X"}}', "failedOn"),
        ('{"queue":"account","id":"x","failedOn":"1","fields":{"name":"\\ud800"}}', "text that has bytes"),
        ('{"queue":"account","id":"x","failedOn":"1","fields":{}}', "fields"),
    ],
)
def test_a_line_that_is_no_exported_letter_says_why(bus: Bus, line: str, words: str) -> None:
    with pytest.raises(DeadLetterError, match=words):
        LetterArchive(bus.queue("account")).from_line(line)


async def test_what_is_not_there_is_named(bus: Bus) -> None:
    (event_id,) = await fail_some(bus, 1)
    letters = dead_letters(bus)
    (group,) = await letters.groups()
    with pytest.raises(UnknownDeadLetterError, match=event_id):
        await letters.letter(event_id[:-1] + "x")
    with pytest.raises(UnknownDeadLetterError, match=group.fingerprint.group):
        await redriving(bus).run(RedrivePlan(Selection(group="nothing")))
    with pytest.raises(UnknownDeadLetterError):
        await letters.discard(Selection(job_id=new_event_id()), reason="why not")
    assert await bus.count("account", "failed") == 1


async def test_many_letters_each_with_a_fault_of_its_own_are_all_named(bus: Bus) -> None:
    ids = [f"faulty-{number:012d}" for number in range(1200)]
    await put_failed(bus, ids, reason="x", trace="")
    async with bus.redis.pipeline(transaction=False) as pipeline:
        for job_id in ids:
            pipeline.hset(bus.queue("account").job(job_id), "data", f'{{"id":"{job_id}"}}')
        await pipeline.execute()

    done = await redriving(bus).run(RedrivePlan(ALL, fault=lambda letter: letter.data.decode()))

    assert (done.redriven, done.passed_over, done.seen) == (0, 1200, 1200)
    assert set(done.faults) == {f'{{"id":"{job_id}"}}' for job_id in ids}
    seen = await redriving(bus).progress()
    assert seen is not None
    assert seen.passed_over == 1200
    assert await bus.counts("account") == {"failed": 1200}


async def test_a_letter_of_which_nothing_is_left_is_counted_passed_over_and_can_be_discarded(bus: Bus) -> None:
    await put_failed(bus, ["whole-0000000000001", "empty-0000000000001"], reason="x", trace="")
    await bus.redis.delete(bus.queue("account").job("empty-0000000000001"))
    letters = dead_letters(bus)
    empty = next(group for group in await letters.groups() if group.example.startswith("empty"))
    assert (empty.count, empty.fingerprint.event_type) == (1, "")
    assert "hash is gone" in empty.reason
    assert list(LetterArchive(bus.queue("account")).to_lines([await letters.letter("empty-0000000000001")])) == []

    done = await redriving(bus).run(RedrivePlan(ALL))

    assert (done.redriven, done.passed_over) == (1, 1)
    with pytest.raises(DeadLetterError, match="discard it"):
        await redriving(bus).run(RedrivePlan(Selection(job_id="empty-0000000000001")))
    group = Selection(group=empty.fingerprint.group, rejected=False)
    assert (await letters.discard(group, reason="nothing is left of it")).count == 1
    assert await bus.counts("account") == {"wait": 1}
