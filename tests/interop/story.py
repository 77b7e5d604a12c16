"""One service whose processor does what the name of the order says, so that its queue holds jobs of every state."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService, OrderSuccess
from hippo_messenger.catalogue.model import EventData
from hippo_messenger.errors import DeadLetter
from hippo_messenger.job import HippoJob
from hippo_messenger.messenger import HippoMessenger
from hippo_messenger.retry import RetryPolicy
from hippo_messenger.settings import Settings
from hippo_messenger.testing import eventually
from tests.contract.bus import Bus

__all__ = ["ALL_STATES", "EMPTY", "ByName", "Story", "order"]

EMPTY: Mapping[str, int] = {
    "active": 0,
    "completed": 0,
    "delayed": 0,
    "failed": 0,
    "prioritized": 0,
    "waiting": 0,
    "waiting-children": 0,
}
"""What getJobCounts gives for a queue without jobs."""

ALL_STATES: Mapping[str, tuple[str, ...]] = {
    "completed": ("first", "second"),
    "failed": ("dead",),
    "delayed": ("again",),
    "active": ("hold",),
    "waiting": ("third", "fourth", "fifth"),
    "prioritized": ("urgent", "low"),
}
"""State -> the orders in it, once `Story.in_all_states` has come back."""


def order(name: str) -> OrderSuccess:
    return OrderSuccess(order_id=name, total=Decimal(1))


@dataclass
class ByName:
    """A processor: `dead…` is a dead letter, `again…` is to be retried, `hold…` waits for `go_on`, the rest is done."""

    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    fails: bool = True
    began: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)

    async def __call__(self, job: HippoJob[EventData]) -> dict[str, str]:
        assert isinstance(job.data, OrderSuccess)
        name = job.data.order_id
        self.began.append(name)
        if name.startswith("hold"):
            await job.log(f"holding {name}")
            await job.update_progress({"held": name})
            await self.go_on.wait()
        if self.fails and name.startswith("dead"):
            raise DeadLetter(f"{name} is dead")
        if self.fails and name.startswith("again"):
            raise ValueError(f"{name} failed")
        self.done.append(name)
        return {"order": name}


@dataclass
class Story:
    """A broker, the service account with its messenger, and the service order, which sends."""

    bus: Bus
    account: HippoMessenger
    sender: HippoMessenger
    desk: ByName
    ids: dict[str, str] = field(default_factory=dict)
    """Order -> event id."""

    @classmethod
    async def begin(cls, bus: Bus, *, retry: RetryPolicy | None = None, settings: Settings | None = None) -> Story:
        settings = settings or bus.settings
        await bus.broker(settings=settings)
        options = {"settings": settings, "retry": retry or RetryPolicy(attempts=3, delay=3600, jitter=0)}
        account = await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS, **options)
        return cls(bus, account, bus.messenger(HippoService.ORDER, settings=settings), ByName())

    async def send(self, *names: str, delay: float = 0, priority: int = 0) -> None:
        for name in names:
            self.ids[name] = await self.sender.send(order(name), delay=delay, priority=priority)

    async def in_all_states(self) -> None:
        """Work until the queue of account holds a job in every state that a service queue can have."""
        await self.bus.worker(self.account, self.desk, concurrency=1)
        await self.send(*ALL_STATES["completed"], *ALL_STATES["failed"], *ALL_STATES["delayed"])
        await self.until(completed=2, failed=1, delayed=1)
        await self.send(*ALL_STATES["active"])
        await self.until(completed=2, failed=1, delayed=1, active=1)
        await self.send(*ALL_STATES["waiting"])
        for priority, name in enumerate(ALL_STATES["prioritized"], start=1):
            await self.send(name, priority=priority)
        await self.until(completed=2, failed=1, delayed=1, active=1, wait=3, prioritized=2)

    async def until(self, **counts: int) -> None:
        """Wait until the queue of account holds exactly these jobs."""
        await self.bus.settled("account", **counts)

    async def routed(self, count: int) -> None:
        """Wait until the broker has completed so many events and registrations in all."""

        async def check() -> None:
            assert await self.bus.count("broker", "completed") == count

        await eventually(check)
