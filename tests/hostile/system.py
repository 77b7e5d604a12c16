"""A broker, a sender and a listening service on one server, and ways to put something hostile between them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from hippo_messenger.broker import HippoBroker
from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService, OrderSuccess
from hippo_messenger.catalogue.model import EventData
from hippo_messenger.errors import HippoError
from hippo_messenger.messenger import HippoMessenger
from hippo_messenger.observer import Observer
from hippo_messenger.processing import Processor
from hippo_messenger.settings import Settings
from hippo_messenger.testing import eventually
from hippo_messenger.worker import HippoWorker
from tests.contract.bus import Bus, Recorder

__all__ = ["ORDER", "SERVICE", "Raw", "System", "Watcher", "envelope", "job"]

Raw = str | bytes
SERVICE = "account"
ORDER = OrderSuccess(order_id="A-1", total=Decimal(1))


class Watcher(Observer):
    """Remembers what went wrong."""

    def __init__(self) -> None:
        self.troubles: list[HippoError] = []
        self.routes: list[tuple[str, ...]] = []

    def trouble(self, error: HippoError) -> None:
        self.troubles.append(error)

    def routed(self, event_type: str, *, origin: str, services: tuple[str, ...]) -> None:
        self.routes.append(services)


class System:
    """Everything that an event needs; its worker remembers what it got."""

    def __init__(self, url: str, settings: Settings) -> None:
        self.bus = Bus(url, settings)
        self.redis = self.bus.redis
        self.settings = settings
        self.watcher = Watcher()
        self.recorder = Recorder()

    async def start(self, *, processor: Processor[EventData] | None = None) -> None:
        bus = self.bus
        self.broker: HippoBroker = await bus.broker(observer=self.watcher)
        self.listener: HippoMessenger = bus.messenger(
            HippoService.ACCOUNT, [HippoEvent.ORDER_SUCCESS], observer=self.watcher
        )
        await self.listener.register(wait=True)
        self.sender: HippoMessenger = bus.messenger(HippoService.ORDER, observer=self.watcher)
        self.worker: HippoWorker = await bus.worker(self.listener, processor or self.recorder)

    async def close(self) -> None:
        await self.bus.close()

    def key(self, queue: str, name: Raw) -> bytes:
        return self.bus.queue(queue).base.encode() + (name.encode() if isinstance(name, str) else name)

    async def put(
        self,
        queue: str,
        job_id: Raw,
        fields: Mapping[Raw, Raw | float] | None,
        *,
        place: str = "wait",
        score: float = 0,
    ) -> None:
        """Write a job as somebody would who knows nothing but Redis; None is no hash at all."""
        if fields:
            await self.redis.hset(self.key(queue, job_id), mapping=dict(fields))
        if place in ("wait", "active"):
            await self.redis.lpush(self.key(queue, place), job_id)
        else:
            await self.redis.zadd(self.key(queue, place), {job_id: score})
        await self.redis.zadd(self.key(queue, "marker"), {"0": 0})

    async def send_and_receive(self) -> None:
        """One good event goes all the way."""
        event_id = await self.sender.send(ORDER)

        async def processed() -> None:
            assert event_id in self.recorder.ids

        await eventually(processed)

    async def drained(self, *queues: str) -> None:
        """Wait until nothing waits and nothing is active; the next ticks of repeat jobs are no work."""

        async def check() -> None:
            for queue in queues or ("broker", SERVICE):
                assert await self.work_in(queue) == [], queue

        await eventually(check)

    async def work_in(self, queue: str) -> list[bytes]:
        """Every job of a queue that is not at its end, at one moment."""
        pipe = self.redis.pipeline(transaction=True)
        for state in ("wait", "active"):
            pipe.lrange(self.key(queue, state), 0, -1)
        for state in ("prioritized", "delayed"):
            pipe.zrange(self.key(queue, state), 0, -1)
        found = [job_id for ids in await pipe.execute() for job_id in ids]
        ticks = [job_id for job_id in found if job_id.startswith(b"repeat:hippo.register.")]
        return [job_id for job_id in found if job_id not in ticks]

    async def end_of(self, queue: str, job_id: Raw) -> tuple[str, str]:
        """Where a job ended, and why."""
        for state, field in (("failed", "failedReason"), ("completed", "returnvalue")):
            if await self.redis.zscore(self.key(queue, state), job_id) is not None:
                found = await self.redis.hget(self.key(queue, job_id), field)
                return state, (found or b"").decode(errors="replace")
        return "dropped", ""

    def check_alive(self) -> None:
        """No loop has ended, whatever came."""
        for task in (*self.broker._tasks, *self.worker._tasks):
            assert not task.done(), task


def envelope(event_id: str = "hostile-event-0001", **members: Any) -> dict[str, Any]:
    """A sound one, but for `members`."""
    sound = {
        "specversion": "1.0",
        "id": event_id,
        "source": "order",
        "type": "ORDER_SUCCESS",
        "time": "2026-11-23T12:00:00.123Z",
        "data": {"orderId": "A-1", "total": "1"},
    }
    return sound | members


def job(data: Any = None, *, without: Iterable[Raw] = (), **fields: Raw | float) -> dict[Raw, Raw | float]:
    """The hash of a sound job, but for `fields`."""
    if data is None:
        data = envelope()
    raw = data if isinstance(data, str | bytes) else json.dumps(data)
    sound: dict[Raw, Raw | float] = {
        "name": "ORDER_SUCCESS",
        "data": raw,
        "opts": '{"attempts":1}',
        "timestamp": 1,
        "delay": 0,
        "priority": 0,
    }
    return {name: value for name, value in (sound | fields).items() if name not in without}
