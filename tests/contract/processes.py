"""Brokers and workers as processes of their own, which can be stopped, paused and killed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hippo_messenger.settings import Settings
from hippo_messenger.testing import eventually
from tests.contract.bus import Bus

DONE = "done"
"""The list, under the prefix, to which the worker processes add the id of each job that they have processed."""

_BROKER = "import asyncio; from hippo_messenger.broker import HippoBroker; asyncio.run(HippoBroker().run())"
_WORKER = """
import asyncio, os
import redis.asyncio
from hippo_messenger.catalogue.golden_hippo import HippoService
from hippo_messenger.messenger import HippoMessenger
from hippo_messenger.worker import HippoWorker
client = redis.asyncio.Redis.from_url(os.environ["HIPPO_REDIS_URL"])
async def process(job):
    await asyncio.sleep({seconds})
    await client.rpush(os.environ["HIPPO_PREFIX"] + ":done", job.id)
async def main():
    messenger = HippoMessenger(service_name=HippoService.ACCOUNT)
    await HippoWorker(messenger=messenger, processor=process, concurrency={concurrency}).run()
    await messenger.close()
    await client.aclose()
asyncio.run(main())
"""


class Fleet:
    """The processes of one test."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.started: list[Process] = []

    async def broker(self, settings: Settings | None = None) -> Process:
        """One more broker, once it is connected."""
        return await self._one_more("broker", _BROKER, settings)

    async def worker(
        self, *, seconds: float = 0.002, concurrency: int = 10, settings: Settings | None = None
    ) -> Process:
        """One more worker of account, once it is connected, whose processor takes so long."""
        return await self._one_more("account", _WORKER.format(seconds=seconds, concurrency=concurrency), settings)

    async def connected(self, queue: str) -> int:
        """How many workers, or brokers, there are, as BullMQ counts them."""
        names = [client["name"] for client in await self.bus.redis.client_list()]
        return names.count(self.bus.queue(queue).worker_client_name)

    async def done(self) -> list[str]:
        """The ids that were processed, each as often as it was."""
        key = f"{self.bus.settings.prefix}:{DONE}"
        return [job_id.decode() for job_id in await self.bus.redis.lrange(key, 0, -1)]

    async def paused_with_jobs(self, process: Process, queue: str) -> None:
        """Stop a process as it is (SIGSTOP) at a moment at which it holds jobs."""

        async def holds() -> bool:
            if not await self.bus.count(queue, "active"):
                return False
            process.send_signal(signal.SIGSTOP)
            if await self.bus.count(queue, "active"):
                return True
            process.send_signal(signal.SIGCONT)
            return False

        await eventually(holds, interval=0.001)

    async def close(self) -> None:
        for process in self.started:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def _one_more(self, queue: str, program: str, settings: Settings | None) -> Process:
        before = await self.connected(queue)
        values = (settings or self.bus.settings).model_dump()
        variables = {f"HIPPO_{name.upper()}": str(value) for name, value in values.items()}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", program, env={**os.environ, **variables, "HIPPO_REDIS_URL": self.bus.url}
        )
        self.started.append(process)

        async def up() -> None:
            assert process.returncode is None
            assert await self.connected(queue) > before

        await eventually(up, timeout=30, interval=0.05)
        return process


@asynccontextmanager
async def fleet_of(bus: Bus) -> AsyncIterator[Fleet]:
    fleet = Fleet(bus)
    try:
        yield fleet
    finally:
        await fleet.close()
