"""Promise 17: a processor may have a time limit, and learns that nobody waits for it any more."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest

from hippo_messenger.catalogue.golden_hippo import AccountRegistered, HippoService, OrderSuccess
from hippo_messenger.catalogue.model import EventData
from hippo_messenger.errors import ConfigurationError, DeadLetter, ProcessorTimeoutError
from hippo_messenger.job import HippoJob
from hippo_messenger.retry import RetryPolicy
from hippo_messenger.testing import eventually
from hippo_messenger.worker import HippoWorker
from tests.contract.bus import Bus, Recorder

ORDER = OrderSuccess(order_id="A-1", total=Decimal(1))
TWICE = RetryPolicy(attempts=2, delay=0.01)


async def active(bus: Bus, count: int) -> bool:
    return await bus.count("account", "active") == count


async def test_an_asynchronous_processor_over_its_limit_is_cancelled_and_tried_again(bus: Bus) -> None:
    account = bus.messenger(HippoService.ACCOUNT, retry=TWICE)
    ended: list[str] = []

    async def hang(job: HippoJob[EventData]) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    await bus.worker(account, hang, processor_timeout=0.1)
    event_id = await account.send(ORDER, notify_self=True)

    await bus.settled("account", failed=1)
    job = await bus.job("account", event_id)
    assert job["failedReason"].startswith(f"{ProcessorTimeoutError.__name__}: ")
    assert "hang took longer than its limit of 0.1 s" in job["failedReason"]
    assert (job["atm"], len(job["stacktrace"]), ended) == ("2", 2, ["cancelled"] * 2)


async def test_a_limit_counts_for_what_a_plain_function_returns_to_be_awaited_too(bus: Bus) -> None:
    account = bus.messenger(HippoService.ACCOUNT, retry=RetryPolicy(attempts=1))
    never = asyncio.Event()
    await bus.worker(account, lambda job: never.wait(), processor_timeout=0.1)

    event_id = await account.send(ORDER, notify_self=True)

    await bus.settled("account", failed=1)
    assert "took longer than its limit of 0.1 s" in (await bus.job("account", event_id))["failedReason"]


async def test_what_a_plain_function_returns_to_be_awaited_is_not_begun_after_the_grace_period(bus: Bus) -> None:
    account = bus.messenger(HippoService.ACCOUNT)
    started, end = threading.Event(), threading.Event()
    recorder = Recorder()

    def prepares(job: HippoJob[EventData]) -> Any:
        started.set()
        end.wait(30)
        return recorder(job)

    worker = await bus.worker(account, prepares)
    await account.send(ORDER, notify_self=True)
    await asyncio.to_thread(started.wait)
    asyncio.get_running_loop().call_later(0.3, end.set)
    await worker.stop(grace=0)

    assert await bus.counts("account") == {"wait": 1}
    assert recorder.jobs == []


async def test_what_it_returns_after_its_limit_counts_for_nothing(bus: Bus) -> None:
    account = bus.messenger(HippoService.ACCOUNT, retry=RetryPolicy(attempts=1))

    async def stubborn(job: HippoJob[EventData]) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass
        return "done all the same"

    await bus.worker(account, stubborn, processor_timeout=0.1)
    event_id = await account.send(ORDER, notify_self=True)

    await bus.settled("account", failed=1)
    assert "ProcessorTimeoutError" in (await bus.job("account", event_id))["failedReason"]


async def test_a_timeout_of_the_processors_own_is_told_from_ours(bus: Bus) -> None:
    account = bus.messenger(HippoService.ACCOUNT, retry=RetryPolicy(attempts=1))
    await bus.worker(account, Recorder(raises=[TimeoutError("the bank")]), processor_timeout=60)
    event_id = await account.send(ORDER, notify_self=True)

    await bus.settled("account", failed=1)
    assert (await bus.job("account", event_id))["failedReason"] == "TimeoutError: the bank"


async def test_each_event_can_have_a_limit_of_its_own(bus: Bus) -> None:
    account = bus.messenger(HippoService.ACCOUNT, retry=RetryPolicy(attempts=1))
    worker = HippoWorker(messenger=account, processor_timeout=0.1)
    release = asyncio.Event()

    @worker.on(OrderSuccess, timeout=math.inf)
    async def patient(job: HippoJob[OrderSuccess]) -> None:
        await release.wait()

    @worker.on(AccountRegistered)
    async def hasty(job: HippoJob[AccountRegistered]) -> None:
        await release.wait()

    bus.stack.push_async_callback(worker.stop, grace=0)
    await worker.start()
    await account.send(ORDER, notify_self=True)
    await account.send(AccountRegistered(account_id="B-2"), notify_self=True)

    await bus.settled("account", active=1, failed=1)
    release.set()
    await bus.settled("account", completed=1, failed=1)
    [job] = await bus.failed("account")
    assert "hasty took longer" in job["failedReason"]


@pytest.mark.parametrize("wrong", [0, -1, math.nan, True, "5"])
def test_what_is_no_limit_is_refused(bus: Bus, wrong: Any) -> None:
    account = bus.messenger(HippoService.ACCOUNT)
    with pytest.raises(ConfigurationError, match="expected a time limit of more than 0 seconds"):
        HippoWorker(messenger=account, processor_timeout=wrong)
    with pytest.raises(ConfigurationError, match="expected a time limit of more than 0 seconds"):
        HippoWorker(messenger=account).on(OrderSuccess, timeout=wrong)(Recorder())


@pytest.mark.chaos
async def test_a_plain_processor_over_its_limit_is_told_and_waited_for_and_never_runs_twice_at_a_time(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    account = bus.messenger(HippoService.ACCOUNT, retry=TWICE)
    told, release = threading.Semaphore(0), threading.Semaphore(0)
    running, most = [0], [0]

    def slow(job: HippoJob[EventData]) -> str:
        running[0] += 1
        most[0] = max(most[0], running[0])
        assert job.wait_cancelled()
        assert job.cancelled
        told.release()
        release.acquire()
        running[0] -= 1
        return "too late"

    await bus.worker(account, slow, processor_timeout=0.1)
    event_id = await account.send(ORDER, notify_self=True)
    await asyncio.to_thread(told.acquire)
    recorder = Recorder()
    other = await bus.worker(bus.messenger(HippoService.ACCOUNT), recorder)
    checks: set[bytes] = set()

    async def several_checks() -> None:
        checks.add(await bus.redis.get(bus.queue("account").stalled_check) or b"")
        assert len(checks) > 6  # at 0.4 s each, more than two lock times

    await eventually(several_checks, timeout=20)
    assert await active(bus, 1)
    await other.stop()
    assert recorder.jobs == []
    release.release(2)

    await bus.settled("account", failed=1)
    job = await bus.job("account", event_id)
    assert "slow took longer than its limit" in job["failedReason"]
    assert (job["atm"], most) == ("2", [1])
    assert "the job stays locked until it returns" in caplog.text


async def test_a_verdict_of_a_plain_processor_counts_after_its_limit_too(bus: Bus) -> None:
    account = bus.messenger(HippoService.ACCOUNT, retry=TWICE)

    def gives_up(job: HippoJob[EventData]) -> None:
        job.wait_cancelled()
        raise DeadLetter("it would never have worked")

    await bus.worker(account, gives_up, processor_timeout=0.1)
    event_id = await account.send(ORDER, notify_self=True)

    await bus.settled("account", failed=1)
    job = await bus.job("account", event_id)
    assert (job["failedReason"], job["atm"]) == ("it would never have worked", "1")


async def test_at_the_end_of_the_grace_period_a_plain_processor_that_looks_ends_and_its_job_is_put_back(
    bus: Bus,
) -> None:
    account = bus.messenger(HippoService.ACCOUNT)
    threads: list[bool] = []

    def looks(job: HippoJob[EventData]) -> str:
        assert not job.cancelled
        threads.append(job.wait_cancelled(60))
        return "not done"

    worker = await bus.worker(account, looks)
    event_id = await account.send(ORDER, notify_self=True)
    await eventually(lambda: active(bus, 1))
    await worker.stop(grace=0.1)

    assert threads == [True]
    assert await bus.counts("account") == {"wait": 1}
    assert "atm" not in await bus.job("account", event_id)


async def test_a_plain_processor_that_does_not_look_but_ends_then_has_done_its_work(bus: Bus) -> None:
    account = bus.messenger(HippoService.ACCOUNT)
    started, end = threading.Event(), threading.Event()

    def does_not_look(job: HippoJob[EventData]) -> str:
        started.set()
        end.wait(30)
        return "done"

    worker = await bus.worker(account, does_not_look)
    event_id = await account.send(ORDER, notify_self=True)
    await asyncio.to_thread(started.wait)
    asyncio.get_running_loop().call_later(0.3, end.set)
    await worker.stop(grace=0)

    assert (await bus.job("account", event_id))["returnvalue"] == "done"


async def test_threads_of_an_asynchronous_processor_can_look_too(bus: Bus) -> None:
    account = bus.messenger(HippoService.ACCOUNT)
    seen = threading.Event()

    def helper(job: HippoJob[EventData]) -> None:
        if job.wait_cancelled(60):
            seen.set()

    async def with_a_thread(job: HippoJob[EventData]) -> None:
        await asyncio.to_thread(helper, job)

    worker = await bus.worker(account, with_a_thread)
    await account.send(ORDER, notify_self=True)
    await eventually(lambda: active(bus, 1))
    await worker.stop(grace=0)

    assert await asyncio.to_thread(seen.wait, 30)
    assert await bus.counts("account") == {"wait": 1}


@pytest.mark.chaos
@pytest.mark.slow
async def test_a_plain_processor_that_keeps_the_interpreter_to_itself_in_bursts_keeps_its_lock(bus: Bus) -> None:
    settings = bus.settings.model_copy(update={"worker_lock": 2.0, "worker_stall_check": 1.0})
    account = bus.messenger(HippoService.ACCOUNT, settings=settings)
    runs: Counter[str] = Counter()
    release = threading.Event()
    began = time.monotonic()
    sum(range(1_000_000))
    burst = round(1_000_000 * 0.02 / (time.monotonic() - began))  # a hundredth of the lock's time, on this machine

    def computes(job: HippoJob[EventData]) -> None:
        runs[job.id] += 1
        while not release.is_set():
            sum(range(burst))  # no other thread of this process runs meanwhile

    await bus.worker(account, computes)
    await account.send(ORDER, notify_self=True)
    locks: list[int] = []

    async def three_lock_times() -> None:
        seconds, microseconds = await bus.redis.time()
        locks.append(seconds * 1000 + microseconds // 1000)
        assert locks[-1] - locks[0] > 6000

    await eventually(lambda: active(bus, 1))
    await eventually(three_lock_times, timeout=60, interval=0.5)  # each look takes turns of the same loop
    release.set()
    await bus.settled("account", completed=1)
    assert list(runs.values()) == [1]
    assert "stc" not in await bus.job("account", next(iter(runs)))
