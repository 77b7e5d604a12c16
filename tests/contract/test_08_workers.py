"""Promise 8: each job goes to one worker, no worker takes more than it has room for, and the dead give theirs up."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from decimal import Decimal
from typing import Any

import pytest

from hippo_messenger.catalogue.golden_hippo import HippoService, OrderSuccess
from hippo_messenger.catalogue.model import EventData
from hippo_messenger.errors import ConfigurationError, MessengerClosedError
from hippo_messenger.job import HippoJob
from hippo_messenger.observer import Observer
from hippo_messenger.testing import Proxy, eventually
from hippo_messenger.worker import HippoWorker
from tests.contract.bus import Bus, Recorder


def orders(count: int) -> list[OrderSuccess]:
    return [OrderSuccess(order_id=f"A-{number}", total=Decimal(number)) for number in range(count)]


async def fill(bus: Bus, count: int) -> list[str]:
    """Put so many events into the queue of account, without a broker in between."""
    return await bus.messenger(HippoService.ACCOUNT).send_many(orders(count), notify_self=True)


async def test_a_worker_takes_no_more_than_its_free_slots(bus: Bus) -> None:
    ids = await fill(bus, 10)
    release = asyncio.Event()
    running: list[str] = []

    async def hold(job: HippoJob[EventData]) -> None:
        running.append(job.id)
        await release.wait()

    await bus.worker(bus.messenger(HippoService.ACCOUNT), hold, concurrency=3)

    await bus.settled("account", active=3, wait=7)
    assert running == ids[:3]
    release.set()
    await bus.settled("account", completed=10)


async def test_a_slow_job_does_not_hold_up_the_others(bus: Bus) -> None:
    ids = await fill(bus, 50)
    release = asyncio.Event()

    async def slow_first(job: HippoJob[EventData]) -> None:
        if job.id == ids[0]:
            await release.wait()

    await bus.worker(bus.messenger(HippoService.ACCOUNT), slow_first, concurrency=5)

    await bus.settled("account", active=1, completed=49)
    release.set()
    await bus.settled("account", completed=50)


async def test_each_job_goes_to_exactly_one_of_several_workers(bus: Bus) -> None:
    recorders = [Recorder() for _ in range(4)]
    for recorder in recorders:
        await bus.worker(bus.messenger(HippoService.ACCOUNT), recorder, concurrency=5)

    ids = await fill(bus, 300)

    await bus.settled("account", completed=300)
    assert sorted(job_id for recorder in recorders for job_id in recorder.ids) == sorted(ids)


async def test_jobs_of_one_take_share_a_token_and_no_two_takes_do(bus: Bus) -> None:
    ids = await fill(bus, 4)
    release = asyncio.Event()

    async def hold(job: HippoJob[EventData]) -> None:
        await release.wait()

    for _ in range(2):
        await bus.worker(bus.messenger(HippoService.ACCOUNT), hold, concurrency=2)
        await eventually(lambda: held(bus, ids))

    tokens = [await bus.redis.get(bus.queue("account").job(job_id) + ":lock") for job_id in ids]
    assert tokens[0] == tokens[1] != tokens[2] == tokens[3]
    release.set()


async def held(bus: Bus, ids: list[str]) -> bool:
    return await bus.count("account", "active") in (2, 4)


@pytest.mark.chaos
async def test_locks_are_renewed_while_a_processor_runs_also_a_plain_one(bus: Bus) -> None:
    await fill(bus, 2)
    release = threading.Event()
    runs: list[str] = []

    def blocking(job: HippoJob[EventData]) -> str:
        runs.append(job.id)
        release.wait(30)
        return threading.current_thread().name

    worker = await bus.worker(bus.messenger(HippoService.ACCOUNT), blocking, concurrency=2)
    other = Recorder()
    await bus.worker(bus.messenger(HippoService.ACCOUNT), other)
    checks: set[bytes] = set()

    async def several_checks() -> None:
        checks.add(await bus.redis.get(bus.queue("account").stalled_check) or b"")
        assert len(checks) > 6  # at 0.4 s each, more than two lock times

    await eventually(several_checks, timeout=20)
    release.set()
    await bus.settled("account", completed=2)
    assert len(runs) == 2
    assert other.jobs == []
    assert worker is not None


async def test_when_a_check_for_the_dead_is_no_longer_fresh_somebody_looks_at_once(bus: Bus) -> None:
    # Guards: who found the last check fresh waited a whole interval more, and who had made it might be the dead one.
    bus.settings = bus.settings.model_copy(update={"worker_stall_check": 60.0})
    key = bus.queue("account").stalled_check
    await bus.redis.set(key, "1700000000000", px=700)
    await bus.worker(bus.messenger(HippoService.ACCOUNT), Recorder())

    async def a_check_of_our_own() -> None:
        assert await bus.redis.get(key) not in (None, b"1700000000000")

    await eventually(a_check_of_our_own, timeout=20)


@pytest.mark.chaos
async def test_the_jobs_of_a_worker_that_was_killed_run_elsewhere(bus: Bus) -> None:
    ids = await fill(bus, 3)
    process = await start_worker_process(bus, "lambda job: __import__('time').sleep(60)")
    await eventually(lambda: active(bus, 3))

    os.kill(process.pid, signal.SIGKILL)
    await process.wait()
    recorder = Recorder()
    await bus.worker(bus.messenger(HippoService.ACCOUNT), recorder)

    jobs = await recorder.got(3)
    assert sorted(job.id for job in jobs) == sorted(ids)
    await bus.settled("account", completed=3)
    assert [(await bus.job("account", job_id))["stc"] for job_id in ids] == ["1", "1", "1"]


async def active(bus: Bus, count: int) -> bool:
    return await bus.count("account", "active") == count


@pytest.mark.chaos
async def test_a_job_that_keeps_killing_its_worker_becomes_a_dead_letter(bus: Bus) -> None:
    ids = await fill(bus, 1)
    for _ in range(2):
        process = await start_worker_process(bus, "lambda job: __import__('os')._exit(9)")
        await process.wait()

    recorder = Recorder()
    await bus.worker(bus.messenger(HippoService.ACCOUNT), recorder)

    await bus.settled("account", failed=1)
    assert (await bus.job("account", ids[0]))["failedReason"] == "job stalled more than allowable limit"
    assert recorder.jobs == []


@pytest.mark.chaos
async def test_a_job_that_kills_its_worker_takes_all_with_it_that_the_worker_held(bus: Bus) -> None:
    """Nobody can tell which of them it was: each counts a stall, as with BullMQ. None is lost."""
    ids = await fill(bus, 3)
    deadly = f"lambda job: __import__('os')._exit(9) if job.id == {ids[0]!r} else __import__('time').sleep(60)"
    for _ in range(2):
        process = await start_worker_process(bus, deadly)
        await process.wait()

    await bus.worker(bus.messenger(HippoService.ACCOUNT), Recorder())

    await bus.settled("account", failed=3)
    assert {letter["failedReason"] for letter in await bus.failed("account")} == {
        "job stalled more than allowable limit"
    }


async def start_worker_process(bus: Bus, processor: str) -> asyncio.subprocess.Process:
    variables = {f"HIPPO_{name.upper()}": str(value) for name, value in bus.settings.model_dump().items()}
    program = f"""
import asyncio
from hippo_messenger.catalogue.golden_hippo import HippoService
from hippo_messenger.messenger import HippoMessenger
from hippo_messenger.worker import HippoWorker
async def main():
    messenger = HippoMessenger(service_name=HippoService.ACCOUNT)
    await HippoWorker(messenger=messenger, processor={processor}).run()
    await messenger.close()
asyncio.run(main())
"""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, env={**os.environ, **variables, "HIPPO_REDIS_URL": bus.url}
    )


async def test_a_graceful_stop_finishes_what_it_can_and_puts_the_rest_back_at_the_head(bus: Bus) -> None:
    ids = await fill(bus, 20)
    quick_done = asyncio.Event()

    async def two_never_end(job: HippoJob[EventData]) -> None:
        if job.id in ids[1:3]:
            await asyncio.Event().wait()
        await quick_done.wait()

    worker = await bus.worker(bus.messenger(HippoService.ACCOUNT), two_never_end, concurrency=4)
    await eventually(lambda: active(bus, 4))
    quick_done.set()
    await worker.stop(grace=0.3)

    line = await bus.redis.lrange(bus.queue("account").base + "wait", 0, -1)
    assert [job_id.decode() for job_id in reversed(line)][:2] == ids[1:3]
    assert await bus.count("account", "active") == 0
    for job_id in ids[1:3]:
        job = await bus.job("account", job_id)
        assert "atm" not in job
        assert "stc" not in job
        assert not await bus.redis.exists(bus.queue("account").job(job_id) + ":lock")
    recorder = Recorder()
    await bus.worker(bus.messenger(HippoService.ACCOUNT), recorder, concurrency=1)
    await bus.settled("account", completed=20)
    assert recorder.ids[:2] == ids[1:3]


async def test_a_job_that_comes_after_the_stop_is_put_back_and_not_begun(bus: Bus, proxy: Proxy) -> None:
    """The stop comes while the take is under way: nobody would wait for the jobs that it brings."""
    never, began = asyncio.Event(), asyncio.Event()

    async def process(job: HippoJob[EventData]) -> None:
        began.set()
        await never.wait()

    settings = bus.settings.model_copy(update={"worker_lock": 30.0})
    worker = await bus.worker(bus.messenger(HippoService.ACCOUNT, url=proxy.url, settings=settings), process)
    proxy.delay(0.5)
    ids = await fill(bus, 1)
    await bus.settled("account", active=1)

    await worker.stop(grace=0)

    assert await bus.counts("account") == {"wait": 1}
    assert not await bus.redis.exists(bus.queue("account").job(ids[0]) + ":lock")


def loops() -> list[str]:
    """Of workers, as far as they run."""
    return [name for task in asyncio.all_tasks() if (name := task.get_name()).startswith("hippo-worker-of-")]


async def test_a_run_that_is_cancelled_stops_its_worker(bus: Bus) -> None:
    release = asyncio.Event()

    async def hold(job: HippoJob[EventData]) -> None:
        await release.wait()

    worker = HippoWorker(messenger=bus.messenger(HippoService.ACCOUNT), processor=hold, concurrency=1)
    running = asyncio.create_task(worker.run())
    await fill(bus, 2)
    await bus.settled("account", active=1, wait=1)

    async def stopping() -> bool:
        return worker.health.reason == "it was stopped"

    running.cancel()
    await eventually(stopping)
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await running

    await bus.settled("account", completed=1, wait=1)
    assert loops() == []


async def test_a_stop_that_is_cancelled_half_way_is_completed_by_the_next(bus: Bus, proxy: Proxy) -> None:
    settings = bus.settings.model_copy(update={"worker_lock": 30.0})
    worker = await bus.worker(bus.messenger(HippoService.ACCOUNT, url=proxy.url, settings=settings), Recorder())
    proxy.delay(0.5)
    await fill(bus, 1)
    await bus.settled("account", active=1)

    stopping = asyncio.create_task(worker.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    await asyncio.wait([stopping])
    await worker.stop()

    assert loops() == []
    assert await bus.counts("account") in ({"wait": 1}, {"completed": 1})


async def test_a_worker_starts_once(bus: Bus) -> None:
    """Guards against two starts at a time, which left loops behind that no stop ended."""
    worker = HippoWorker(messenger=bus.messenger(HippoService.ACCOUNT), processor=Recorder())

    starts = await asyncio.gather(worker.start(), worker.start(), return_exceptions=True)

    assert [type(start) for start in starts] == [type(None), MessengerClosedError]
    await worker.stop()
    assert loops() == []


@pytest.mark.parametrize("models", [(), (Recorder(),), (dict,)])
async def test_a_processor_of_no_event_is_refused(bus: Bus, models: tuple[Any, ...]) -> None:
    """Guards against `@worker.on` without its parentheses, which registered nothing and said nothing."""
    worker = HippoWorker(messenger=bus.messenger(HippoService.ACCOUNT))
    with pytest.raises(ConfigurationError, match=r"@worker.on\(OrderSuccess\)"):
        worker.on(*models)


async def test_who_is_stopped_while_it_connects_does_not_start(bus: Bus, proxy: Proxy) -> None:
    recorder = Recorder()
    worker = HippoWorker(messenger=bus.messenger(HippoService.ACCOUNT, url=proxy.url), processor=recorder)
    proxy.delay(0.2)
    starting = asyncio.create_task(worker.start())
    await asyncio.sleep(0)

    await worker.stop()

    with pytest.raises(MessengerClosedError, match="stopped while it was started"):
        await starting
    assert loops() == []

    async def hung_up() -> None:
        names = [client["name"] for client in await bus.redis.client_list()]
        assert bus.queue("account").worker_client_name not in names

    await eventually(hung_up)


async def test_sigterm_ends_a_worker_process_cleanly(bus: Bus) -> None:
    await fill(bus, 3)
    process = await start_worker_process(bus, "lambda job: None")
    await bus.settled("account", completed=3)

    process.send_signal(signal.SIGTERM)

    assert await process.wait() == 0


@pytest.mark.chaos
async def test_a_delayed_job_runs_on_time_on_an_idle_worker(bus: Bus) -> None:
    """Guards against a client whose blocking call outlives the delay: by itself this worker looks after minutes."""
    recorder = Recorder()
    patient = bus.settings.model_copy(update={"block_timeout": 300.0})
    await bus.worker(bus.messenger(HippoService.ACCOUNT, settings=patient), recorder)
    sent_at = asyncio.get_running_loop().time()

    await bus.messenger(HippoService.ACCOUNT).send(orders(1)[0], notify_self=True, delay=7)

    await eventually(lambda: came(recorder), timeout=30)
    assert asyncio.get_running_loop().time() - sent_at >= 7


async def came(recorder: Recorder) -> bool:
    return len(recorder.jobs) == 1


async def test_a_job_whose_hash_is_gone_harms_no_other(bus: Bus) -> None:
    ids = await fill(bus, 5)
    await bus.redis.delete(bus.queue("account").job(ids[1]))
    await bus.redis.set(bus.queue("account").job(ids[3]), "not a job")
    recorder = Recorder()

    await bus.worker(bus.messenger(HippoService.ACCOUNT), recorder)

    await bus.settled("account", completed=3)
    assert recorder.ids == [ids[0], ids[2], ids[4]]


async def test_a_pause_is_honoured(bus: Bus) -> None:
    await bus.redis.hset(bus.queue("account").base + "meta", "paused", 1)
    await fill(bus, 1)
    recorder = Recorder()
    worker = await bus.worker(
        bus.messenger(HippoService.ACCOUNT, settings=bus.settings.model_copy(update={"block_timeout": 1.0})), recorder
    )
    await bus.settled("account", wait=1)

    await bus.redis.hdel(bus.queue("account").base + "meta", "paused")
    await bus.redis.zadd(bus.queue("account").marker, {"0": 0})

    await recorder.got(1)
    assert worker is not None


class Counting(Observer):
    """Remembers which jobs were settled, and whose lock was lost."""

    def __init__(self) -> None:
        self.settlings: list[str] = []
        self.lost: list[str] = []

    def settled(self, event_type: str, *, queue: str, outcome: str) -> None:
        self.settlings.append(outcome)

    def lock_lost(self, job_id: str, *, queue: str) -> None:
        self.lost.append(job_id)


async def test_a_settling_whose_reply_was_lost_counts_as_one(bus: Bus, proxy: Proxy) -> None:
    """Guards against an alarm about lost locks whenever a connection breaks."""
    observer, release = Counting(), asyncio.Event()

    async def hold(job: HippoJob[EventData]) -> None:
        await release.wait()

    settings = bus.settings.model_copy(update={"worker_lock": 60.0, "worker_stall_check": 60.0})
    account = bus.messenger(HippoService.ACCOUNT, url=proxy.url, settings=settings, observer=observer)
    await bus.worker(account, hold, concurrency=3)
    await fill(bus, 3)
    await bus.settled("account", active=3)

    proxy.drop_replies(1)
    release.set()
    await bus.settled("account", completed=3)

    async def told() -> None:
        assert observer.settlings == ["completed"] * 3

    await eventually(told)
    assert (proxy.dropped, observer.lost) == (1, [])


async def test_a_lock_that_is_lost_is_told_of_once_and_a_job_that_is_gone_has_lost_none(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    observer, release = Counting(), asyncio.Event()

    async def hold(job: HippoJob[EventData]) -> None:
        await release.wait()

    settings = bus.settings.model_copy(update={"worker_stall_check": 60.0})
    account = bus.messenger(HippoService.ACCOUNT, settings=settings, observer=observer)
    worker = await bus.worker(account, hold, concurrency=2)
    ids = await fill(bus, 2)
    await bus.settled("account", active=2)

    await bus.redis.delete(bus.queue("account").job(ids[0]) + ":lock", bus.queue("account").job(ids[1]))

    async def lost() -> bool:
        return observer.lost == [ids[0]]

    await eventually(lost)
    release.set()
    await worker.stop()

    assert (observer.lost, observer.settlings) == ([ids[0]], [])
    assert f"job {ids[1]} was gone before it was completed" in caplog.text


async def test_workers_of_one_messenger_wait_side_by_side(bus: Bus) -> None:
    """Guards against workers that took turns on one connection to wait on."""
    account = bus.messenger(HippoService.ACCOUNT)
    recorders = [Recorder(), Recorder(), Recorder()]
    for recorder in recorders:
        await bus.worker(account, recorder, concurrency=1)

    async def waiting() -> None:
        names = [client["name"] for client in await bus.redis.client_list()]
        assert names.count(bus.queue("account").worker_client_name) == 3

    await eventually(waiting)
    ids = await fill(bus, 60)

    async def done() -> None:
        assert sorted(job_id for recorder in recorders for job_id in recorder.ids) == sorted(ids)

    await eventually(done)


async def test_a_worker_takes_no_more_than_the_bytes_it_may_hold(bus: Bus) -> None:
    settings = bus.settings.model_copy(update={"worker_bytes": 30_000})
    account = bus.messenger(HippoService.ACCOUNT, settings=settings)
    await account.send_many([OrderSuccess(order_id="A" * 10_000, total=Decimal(1))] * 9, notify_self=True)
    release = asyncio.Semaphore(0)

    async def hold(job: HippoJob[EventData]) -> None:
        await release.acquire()

    await bus.worker(account, hold, concurrency=9)

    await bus.settled("account", active=3, wait=6)
    release.release()
    await bus.settled("account", active=3, wait=5, completed=1)
    for _ in range(8):
        release.release()
    await bus.settled("account", completed=9)
