"""Promise 9: a dead letter stays until somebody redrives, edits or discards it, and none is lost or doubled by that."""

from __future__ import annotations

import asyncio
import json

import pytest

from hippo_messenger.catalogue.golden_hippo import AccountRegistered, HippoEvent, HippoService
from hippo_messenger.envelope import new_event_id
from hippo_messenger.errors import DeadLetterError, EventValidationError, UnknownDeadLetterError
from hippo_messenger.queues.dead_letters import Selection
from hippo_messenger.queues.letter_archive import LetterArchive
from hippo_messenger.queues.letter_edit import LetterEdit
from hippo_messenger.queues.redrive import RedrivePlan
from hippo_messenger.testing import CrashPoint, Proxy
from tests.contract.bus import Bus, Recorder
from tests.contract.letters import (
    ALL,
    ONCE,
    TRACE,
    check,
    dead_letters,
    fail_some,
    put_failed,
    redriving,
)


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


async def test_an_edit_whose_redrive_is_cancelled_says_that_nothing_was_done(bus: Bus, proxy: Proxy) -> None:
    """Guards against an edit that is lost though it seems to have worked."""
    (event_id,) = await fail_some(bus, 1)
    before = await bus.job("account", event_id)
    letter = await dead_letters(bus).letter(event_id)
    data = LetterEdit(letter, check()).edited({"orderId": "A-2", "total": "1"})
    reached = proxy.trap(CrashPoint.parse("before redrive"), lambda: proxy.refuse(on=True))
    editing = asyncio.create_task(redriving(bus, url=proxy.url).run_edited(letter, data=data))
    await reached.wait()

    assert await redriving(bus).cancel()
    proxy.refuse(on=False)

    with pytest.raises(DeadLetterError, match=f"{event_id} is not redriven .* cancelled this redrive of account"):
        await editing
    assert await bus.job("account", event_id) == before
    progress = await redriving(bus).progress()
    assert progress is not None
    assert (progress.state, progress.redriven) == ("cancelled", 0)


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
