"""How long it takes until jobs that a stopping worker puts back run elsewhere, when many others wait."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal

from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService, OrderSuccess
from hippo_messenger.catalogue.model import EventData
from hippo_messenger.job import HippoJob
from hippo_messenger.settings import Settings
from hippo_messenger.testing import System, eventually
from tests.chaos.recovery import Recovery
from tests.chaos.roster import SLOTS

__all__ = ["behind_a_backlog"]

AT_A_TIME = 1000
WORKING_TIME = 0.01
PATIENCE = 300.0


class Desk:
    """What two workers do: the one that is to be stopped holds what it gets, the other one works on."""

    def __init__(self) -> None:
        self.held: set[str] = set()
        self.began: dict[str, float] = {}

    async def hold(self, job: HippoJob[EventData]) -> None:
        self.held.add(job.id)
        await asyncio.Event().wait()

    async def work(self, job: HippoJob[EventData]) -> None:
        self.began[job.id] = time.monotonic()
        await asyncio.sleep(WORKING_TIME)

    async def holds_all_it_can(self) -> None:
        assert len(self.held) == SLOTS

    async def is_at_work(self) -> None:
        assert len(self.began) >= SLOTS

    async def has_begun_what_was_held(self) -> None:
        assert self.held <= self.began.keys()


async def behind_a_backlog(url: str, *, jobs: int) -> Recovery:
    """From the stop of a worker to the begin of each job that it held, with so many jobs behind them."""
    desk = Desk()
    async with System(url, settings=Settings(prefix="{backlog}")) as system:
        await system.broker()
        first = await system.messenger(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
        second = await system.messenger(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
        holding = await system.worker(first, desk.hold, concurrency=SLOTS)
        sender = await system.messenger(HippoService.ORDER)
        order = OrderSuccess(order_id="1", total=Decimal(1))
        for begin in range(0, jobs, AT_A_TIME):
            await sender.send_many([order] * min(AT_A_TIME, jobs - begin))
        await eventually(desk.holds_all_it_can, timeout=PATIENCE)
        await system.worker(second, desk.work, concurrency=SLOTS)
        await eventually(desk.is_at_work, timeout=PATIENCE)
        stopped = time.monotonic()
        await holding.stop(grace=0)
        await eventually(desk.has_begun_what_was_held, timeout=PATIENCE)
        took = tuple(desk.began[job_id] - stopped for job_id in desk.held)
    return Recovery(f"a worker was stopped with {jobs:,} jobs waiting, until its jobs run elsewhere", 0.1, took)
