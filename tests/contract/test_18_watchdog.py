"""Promise 18: a processor that holds up the event loop is named."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from decimal import Decimal

import pytest

from hippo_messenger.catalogue.golden_hippo import AccountRegistered, HippoService, OrderSuccess
from hippo_messenger.catalogue.model import EventData
from hippo_messenger.job import HippoJob
from hippo_messenger.observer import Observer
from hippo_messenger.settings import Settings
from hippo_messenger.testing import eventually
from hippo_messenger.worker import HippoWorker
from tests.contract.bus import Bus

ORDER = OrderSuccess(order_id="A-1", total=Decimal(1))


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"worker_block_warning": 0.1})


class Watcher(Observer):
    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str]] = []
        self.threads: set[int] = set()

    def blocked(self, event_type: str, *, queue: str, job_id: str, seconds: float) -> None:
        assert seconds > 0
        self.seen.append((event_type, queue, job_id))
        self.threads.add(threading.get_ident())


def hold_the_loop_until(check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not check() and time.monotonic() < deadline:
        time.sleep(0.01)


def logged(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == level]


async def test_a_processor_that_holds_up_the_loop_is_named_once_with_its_job_and_where_it_is(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    watcher = Watcher()
    account = bus.messenger(HippoService.ACCOUNT, observer=watcher)
    worker = HippoWorker(messenger=account)
    over = threading.Event()

    @worker.on(OrderSuccess)
    async def blocks(job: HippoJob[OrderSuccess]) -> None:
        await asyncio.sleep(0)
        hold_the_loop_until(lambda: bool(logged(caplog, logging.WARNING)))
        over.set()

    @worker.on(AccountRegistered)
    def plain(job: HippoJob[AccountRegistered]) -> None:
        over.wait(30)

    bus.stack.push_async_callback(worker.stop, grace=0)
    await worker.start()
    await account.send(AccountRegistered(account_id="B-2"), notify_self=True)
    event_id = await account.send(ORDER, notify_self=True)

    await bus.settled("account", completed=2)
    [said] = logged(caplog, logging.WARNING)
    assert f"blocks holds it with job {event_id} (ORDER_SUCCESS)" in said
    assert "in hold_the_loop_until\n" in said
    assert "run_until_complete" not in said
    assert "time.sleep(0.01)" in said

    async def told() -> None:
        assert watcher.seen == [("ORDER_SUCCESS", "account", event_id)]

    await eventually(told)
    assert watcher.threads == {threading.get_ident()}


async def test_what_holds_up_the_loop_without_being_a_processor_is_shown_too(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    watcher = Watcher()
    account = bus.messenger(HippoService.ACCOUNT, observer=watcher)

    async def somebody_else() -> None:
        hold_the_loop_until(lambda: bool(logged(caplog, logging.WARNING)))

    async def processor(job: HippoJob[EventData]) -> None:
        await asyncio.create_task(somebody_else())

    await bus.worker(account, processor)
    await account.send(ORDER, notify_self=True)

    await bus.settled("account", completed=1)
    [said] = logged(caplog, logging.WARNING)
    assert "something else than a processor of this worker" in said
    assert "in somebody_else\n" in said

    async def told() -> None:
        assert watcher.seen == [("", "account", "")]

    await eventually(told)


@pytest.mark.chaos
async def test_when_the_loop_is_held_up_longer_than_a_lock_lasts_the_log_says_what_that_means(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    account = bus.messenger(HippoService.ACCOUNT)
    runs: list[str] = []

    async def blocks_at_first(job: HippoJob[EventData]) -> None:
        runs.append(job.id)
        if len(runs) == 1:
            hold_the_loop_until(lambda: bool(logged(caplog, logging.ERROR)))

    await bus.worker(account, blocks_at_first)
    event_id = await account.send(ORDER, notify_self=True)

    await bus.settled("account", completed=1)
    [said] = [words for words in logged(caplog, logging.ERROR) if "a lock lasts" in words]
    assert "(1 s)" in said
    assert f"blocks_at_first holds it with job {event_id}" in said
    assert "may be processed a second time elsewhere" in said


async def test_it_can_be_switched_off_and_ends_with_its_worker(bus: Bus) -> None:
    def watching() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name == "hippo-account-watchdog"]

    async def processor(job: HippoJob[EventData]) -> None:
        return None

    off = bus.settings.model_copy(update={"worker_block_warning": 0.0})
    await bus.worker(bus.messenger(HippoService.ACCOUNT, settings=off), processor)
    assert watching() == []
    worker = await bus.worker(bus.messenger(HippoService.ACCOUNT), processor)
    assert len(watching()) == 1
    await worker.stop()

    async def gone() -> None:
        assert watching() == []

    await eventually(gone)
