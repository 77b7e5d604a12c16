"""Promise 9: what raises is retried by the service's policy, then is a dead letter that stays."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable
from decimal import Decimal

import pytest

from hippo_messenger.catalogue.golden_hippo import AccountRegistered, HippoEvent, HippoService, OrderSuccess
from hippo_messenger.catalogue.model import EventData
from hippo_messenger.errors import ConfigurationError, DeadLetter, Discard, EventValidationError
from hippo_messenger.job import HippoJob
from hippo_messenger.retry import RetryPolicy
from hippo_messenger.worker import HippoWorker
from tests.contract.bus import Bus, Recorder

ORDER = OrderSuccess(order_id="A-1", total=Decimal(1))
QUICK = RetryPolicy(attempts=3, delay=0.02)


async def test_a_processor_that_raises_is_tried_again_and_may_still_succeed(bus: Bus) -> None:
    messenger = bus.messenger(HippoService.ACCOUNT, retry=QUICK)
    recorder = Recorder(raises=[ValueError("first"), KeyError("second")], returns="done")
    await bus.worker(messenger, recorder)

    event_id = await messenger.send(ORDER, notify_self=True)

    jobs = await recorder.got(3)
    assert [job.attempt for job in jobs] == [1, 2, 3]
    await bus.settled("account", completed=1)
    job = await bus.job("account", event_id)
    assert (job["returnvalue"], job["atm"], job["ats"]) == ("done", "3", "3")
    assert ["ValueError: first" in job["stacktrace"][0], "KeyError" in job["stacktrace"][1]] == [True, True]


async def test_after_the_last_attempt_it_is_a_dead_letter_with_error_and_trace(bus: Bus) -> None:
    messenger = bus.messenger(HippoService.ACCOUNT, retry=QUICK)
    recorder = Recorder(raises=[ValueError(f"number {number}") for number in range(3)])
    await bus.worker(messenger, recorder)

    event_id = await messenger.send(ORDER, notify_self=True)

    await bus.settled("account", failed=1)
    job = await bus.job("account", event_id)
    assert job["failedReason"] == "ValueError: number 2"
    assert len(job["stacktrace"]) == 3
    assert "in __call__" in job["stacktrace"][2]
    assert len(recorder.jobs) == 3


async def test_dead_letter_skips_the_retries(bus: Bus) -> None:
    messenger = bus.messenger(HippoService.ACCOUNT, retry=QUICK)
    recorder = Recorder(raises=[DeadLetter("this account is closed")])
    await bus.worker(messenger, recorder)

    event_id = await messenger.send(ORDER, notify_self=True)

    await bus.settled("account", failed=1)
    assert (await bus.job("account", event_id))["failedReason"] == "this account is closed"


async def test_discard_completes_without_effect_and_says_so(bus: Bus) -> None:
    messenger = bus.messenger(HippoService.ACCOUNT)
    recorder = Recorder(raises=[Discard("seen before")])
    await bus.worker(messenger, recorder)

    event_id = await messenger.send(ORDER, notify_self=True)

    await bus.settled("account", completed=1)
    assert (await bus.job("account", event_id))["returnvalue"] == {"discarded": "seen before"}


async def test_the_reason_of_what_is_discarded_is_cut_to_what_may_be_kept(bus: Bus) -> None:
    messenger = bus.messenger(HippoService.ACCOUNT)
    await bus.worker(messenger, Recorder(raises=[Discard("x" * 1_000_000)]))

    event_id = await messenger.send(ORDER, notify_self=True)

    await bus.settled("account", completed=1)
    reason = (await bus.job("account", event_id))["returnvalue"]["discarded"]
    assert reason == "x" * 4096


async def test_what_a_plain_function_returns_to_be_awaited_is_awaited(bus: Bus) -> None:
    """Guards against a lambda, or a decorator that knows nothing of coroutines, whose work was never begun."""
    messenger = bus.messenger(HippoService.ACCOUNT, retry=RetryPolicy(attempts=2, delay=0.02))
    recorder = Recorder(raises=[ValueError("first")], returns="done")

    def hands_on(job: HippoJob[EventData]) -> Awaitable[object]:
        return recorder(job)

    await bus.worker(messenger, hands_on)

    event_id = await messenger.send(ORDER, notify_self=True)

    await recorder.got(2)
    await bus.settled("account", completed=1)
    assert (await bus.job("account", event_id))["returnvalue"] == "done"


@pytest.mark.parametrize(("returned", "reason"), [(object(), "no JSON"), ("x" * 70_000, "more than the 65,536")])
async def test_a_return_value_that_cannot_be_kept_is_a_dead_letter_and_not_a_second_run(
    bus: Bus, returned: object, reason: str
) -> None:
    messenger = bus.messenger(HippoService.ACCOUNT, retry=QUICK)
    recorder = Recorder(returns=returned)
    await bus.worker(messenger, recorder)

    event_id = await messenger.send(ORDER, notify_self=True)

    await bus.settled("account", failed=1)
    assert reason in (await bus.job("account", event_id))["failedReason"]
    assert len(recorder.jobs) == 1


async def test_dead_letters_are_not_dropped_to_make_room(bus: Bus) -> None:
    settings = bus.settings.model_copy(update={"completed_count": 1, "rejected_count": 1, "breaker_attempts": 0})
    messenger = bus.messenger(HippoService.ACCOUNT, retry=RetryPolicy(attempts=1), settings=settings)
    await bus.worker(messenger, Recorder(raises=[ValueError("no")] * 50))

    await messenger.send_many([ORDER] * 60, notify_self=True)

    await bus.settled("account", failed=50, completed=1)


async def test_at_the_limit_of_dead_letters_the_queue_pauses_itself_and_says_so(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    settings = bus.settings.model_copy(update={"dead_letter_limit": 3})
    account = bus.messenger(HippoService.ACCOUNT, settings=settings)
    recorder = Recorder(raises=[DeadLetter("never")] * 3)
    await account.send_many([ORDER] * 10, notify_self=True)

    await bus.worker(account, recorder, concurrency=1)

    # The job that was taken together with the last dead letter is still processed.
    await bus.settled("account", failed=3, completed=1, wait=6)
    assert "account: the queue holds 3 dead letters and is paused" in caplog.text
    assert await bus.redis.hget(bus.queue("account").base + "meta", "paused") == b"1"


async def test_records_of_rejected_events_are_no_dead_letters_that_pause_a_queue(bus: Bus) -> None:
    settings = bus.settings.model_copy(update={"dead_letter_limit": 3})
    account = bus.messenger(HippoService.ACCOUNT, settings=settings)
    for _ in range(3):
        with pytest.raises(EventValidationError):
            await account.send(event_type=HippoEvent.ORDER_SUCCESS, data={}, notify_self=True)
    await bus.settled("account", failed=3)

    await bus.worker(account, Recorder(raises=[DeadLetter("never")] * 2), concurrency=1)
    await account.send_many([ORDER] * 5, notify_self=True)

    await bus.settled("account", failed=5, completed=3)
    assert not await bus.redis.hexists(bus.queue("account").base + "meta", "paused")


async def test_a_plain_function_runs_in_a_thread_and_can_log_and_show_progress(bus: Bus) -> None:
    messenger = bus.messenger(HippoService.ACCOUNT)

    def plain(job: HippoJob[EventData]) -> dict[str, str]:
        job.log("half way")
        job.update_progress(50)
        return {"order": job.raw.decode()[:1]}

    await bus.worker(messenger, plain)
    event_id = await messenger.send(ORDER, notify_self=True)

    await bus.settled("account", completed=1)
    job = await bus.job("account", event_id)
    assert (job["returnvalue"], job["progress"]) == ({"order": "{"}, "50")
    assert await bus.redis.lrange(bus.queue("account").job(event_id) + ":logs", 0, -1) == [b"half way"]


async def test_an_asynchronous_function_can_too(bus: Bus) -> None:
    messenger = bus.messenger(HippoService.ACCOUNT)

    async def processor(job: HippoJob[EventData]) -> None:
        await job.log("half way")
        await job.update_progress({"done": 1})

    await bus.worker(messenger, processor)
    event_id = await messenger.send(ORDER, notify_self=True)

    await bus.settled("account", completed=1)
    assert (await bus.job("account", event_id))["progress"] == '{"done":1}'


@pytest.mark.parametrize(
    ("progress", "written"), [(math.nan, "NaN"), ({"eta": math.inf}, {"eta": "Infinity"})], ids=["nan", "infinity"]
)
async def test_a_progress_that_is_no_number_is_json_all_the_same(
    bus: Bus, progress: float | dict[str, object], written: object
) -> None:
    """Guards against JSON that no Node reader of the queue parses: bull-board would fail as a whole."""
    messenger = bus.messenger(HippoService.ACCOUNT)

    async def processor(job: HippoJob[EventData]) -> None:
        await job.update_progress(progress)

    await bus.worker(messenger, processor)
    event_id = await messenger.send(ORDER, notify_self=True)

    await bus.settled("account", completed=1)
    assert json.loads((await bus.job("account", event_id))["progress"], parse_constant=pytest.fail) == written


@pytest.mark.parametrize("kind", ["plain", "asynchronous"])
async def test_a_line_that_cannot_be_written_is_lost_and_its_job_goes_on(bus: Bus, kind: str) -> None:
    messenger = bus.messenger(HippoService.ACCOUNT)

    async def asynchronous(job: HippoJob[EventData]) -> str:
        await job.log("half way")
        return "done"

    def plain(job: HippoJob[EventData]) -> str:
        job.log("half way")
        return "done"

    event_id = "a-job-with-a-broken-log"
    await bus.redis.set(bus.queue("account").job(event_id) + ":logs", "no list")
    await bus.worker(messenger, plain if kind == "plain" else asynchronous)
    await messenger.send(ORDER, event_id=event_id, notify_self=True)

    await bus.settled("account", completed=1)
    assert (await bus.job("account", event_id))["returnvalue"] == "done"


async def test_each_event_can_have_a_processor_of_its_own(bus: Bus) -> None:
    messenger = bus.messenger(HippoService.ACCOUNT)
    worker = HippoWorker(messenger=messenger)
    seen: list[str] = []

    @worker.on(OrderSuccess)
    async def order(job: HippoJob[OrderSuccess]) -> None:
        seen.append(job.data.order_id)

    @worker.on(AccountRegistered)
    def account(job: HippoJob[AccountRegistered]) -> None:
        seen.append(job.data.account_id)

    bus.stack.push_async_callback(worker.stop)
    await worker.start()
    await messenger.send(ORDER, notify_self=True)
    await messenger.send(AccountRegistered(account_id="B-2"), notify_self=True)

    await bus.settled("account", completed=2)
    assert sorted(seen) == ["A-1", "B-2"]
    with pytest.raises(ConfigurationError, match="a second one"):
        worker.on(OrderSuccess)(order)


async def test_a_worker_without_any_processor_does_not_start(bus: Bus) -> None:
    with pytest.raises(ConfigurationError, match="expected a processor"):
        await HippoWorker(messenger=bus.messenger(HippoService.ACCOUNT)).start()


async def test_a_job_that_is_no_event_is_a_dead_letter_with_a_reason(bus: Bus) -> None:
    base = bus.queue("account").base
    await bus.redis.hset(base + "foreign", mapping={"name": "x", "data": "{}", "opts": "not json", "timestamp": 1})
    await bus.redis.lpush(base + "wait", "foreign")
    messenger = bus.messenger(HippoService.ACCOUNT)
    recorder = Recorder()
    await bus.worker(messenger, recorder)

    await bus.settled("account", failed=1)
    assert "InvalidEnvelopeError" in (await bus.job("account", "foreign"))["failedReason"]
    await messenger.send(ORDER, notify_self=True)
    assert recorder.jobs == await recorder.got(1)
    assert HippoEvent.ORDER_SUCCESS in [job.job_type for job in recorder.jobs]
