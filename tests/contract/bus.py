"""Brokers, messengers and workers on one server and one unique prefix, closed in order at the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import redis.asyncio

from hippo_messenger.broker import HippoBroker
from hippo_messenger.catalogue.golden_hippo import HippoService
from hippo_messenger.catalogue.model import EventData, EventType
from hippo_messenger.job import HippoJob
from hippo_messenger.messenger import HippoMessenger
from hippo_messenger.processing import Processor
from hippo_messenger.queues.layout import Layout, QueueKeys
from hippo_messenger.settings import Settings
from hippo_messenger.testing import eventually
from hippo_messenger.worker import HippoWorker


@dataclass
class Bus:
    """One isolated system; everything made through it is closed by `close`."""

    url: str
    settings: Settings
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    def __post_init__(self) -> None:
        self.redis: Any = redis.asyncio.Redis.from_url(self.url)
        self.stack.push_async_callback(self.redis.aclose)
        self.layout = Layout(self.settings.prefix)

    async def close(self) -> None:
        await self.stack.aclose()

    def messenger(
        self, service: HippoService, listens_to: Iterable[EventType] = (), *, url: str | None = None, **options: Any
    ) -> HippoMessenger:
        options.setdefault("settings", self.settings)
        messenger = HippoMessenger(
            service_name=service, listens_to=listens_to, redis_connection=url or self.url, **options
        )
        self.stack.push_async_callback(messenger.close)
        return messenger

    async def broker(self, *, url: str | None = None, **options: Any) -> HippoBroker:
        options.setdefault("settings", self.settings)
        broker = HippoBroker(redis_connection=url or self.url, **options)
        self.stack.push_async_callback(broker.stop)
        await broker.start()
        return broker

    async def worker(
        self, messenger: HippoMessenger, processor: Processor[EventData] | None = None, **options: Any
    ) -> HippoWorker:
        worker = HippoWorker(messenger=messenger, processor=processor, **options)
        self.stack.push_async_callback(worker.stop, grace=0)
        await worker.start()
        return worker

    async def listener(self, service: HippoService, *listens_to: EventType, **options: Any) -> HippoMessenger:
        """A registered messenger whose routes are live; needs a broker."""
        messenger = self.messenger(service, listens_to, **options)
        await messenger.register(wait=True)
        return messenger

    def queue(self, service: str) -> QueueKeys:
        return self.layout.queue(service)

    async def count(self, service: str, state: str) -> int:
        key = self.queue(service).base + state
        kind = await self.redis.type(key)
        if kind == b"list":
            return int(await self.redis.llen(key))
        if kind != b"zset":
            return 0
        members = await self.redis.zrange(key, 0, -1)
        ticks = [member for member in members if member.startswith(b"repeat:")]
        return len(members) - (len(ticks) if state == "delayed" else 0)

    async def counts(self, service: str) -> dict[str, int]:
        """How many jobs are in which state; the next ticks of repeat jobs, which always wait, are left out."""
        states = ("wait", "active", "delayed", "prioritized", "completed", "failed")
        return {state: found for state in states if (found := await self.count(service, state))}

    async def job(self, service: str, job_id: str) -> dict[str, Any]:
        """A job's hash, with data and return value parsed; empty if there is none."""
        raw = await self.redis.hgetall(self.queue(service).job(job_id))
        fields: dict[str, Any] = {name.decode(): value.decode() for name, value in raw.items()}
        return fields | {
            name: _parsed(fields[name]) for name in ("data", "opts", "returnvalue", "stacktrace") if name in fields
        }

    async def failed(self, service: str) -> list[dict[str, Any]]:
        """The failed jobs of a queue, the oldest first."""
        ids = await self.redis.zrange(self.queue(service).base + "failed", 0, -1)
        return [await self.job(service, job_id.decode()) | {"id": job_id.decode()} for job_id in ids]

    async def job_ids(self, service: str) -> list[str]:
        """Every job of a queue that is an event, whatever its state."""
        base = self.queue(service).base
        ids: list[bytes] = []
        for state in ("wait", "active"):
            ids += await self.redis.lrange(base + state, 0, -1)
        for state in ("delayed", "prioritized", "completed", "failed"):
            ids += await self.redis.zrange(base + state, 0, -1)
        return sorted(job_id.decode() for job_id in ids)

    async def has_waiting(self, queue: str, count: int) -> bool:
        """Whether so many workers of a queue, or brokers, wait for something to do."""
        name = self.queue(queue).worker_client_name
        clients = await self.redis.client_list()
        return len([client for client in clients if client["name"] == name and "b" in client["flags"]]) == count

    async def settled(self, service: str, **counts: int) -> None:
        """Wait until a queue holds exactly these jobs, by state."""

        async def check() -> None:
            assert await self.counts(service) == counts

        await eventually(check)


def _parsed(text: str) -> Any:
    """What JSON says; what is none stays as it is."""
    try:
        return json.loads(text)
    except ValueError:
        return text


@dataclass
class Recorder:
    """A processor that remembers what it got, and raises what it is told to."""

    jobs: list[HippoJob[EventData]] = field(default_factory=list)
    raises: list[Exception] = field(default_factory=list)
    returns: object = None

    async def __call__(self, job: HippoJob[EventData]) -> object:
        self.jobs.append(job)
        await asyncio.sleep(0)
        if self.raises:
            raise self.raises.pop(0)
        return self.returns

    @property
    def ids(self) -> list[str]:
        return [job.id for job in self.jobs]

    async def got(self, count: int) -> list[HippoJob[EventData]]:
        """Wait until so many jobs have come."""

        async def check() -> None:
            assert len(self.jobs) >= count

        await eventually(check)
        assert len(self.jobs) == count
        return self.jobs
