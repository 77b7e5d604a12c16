"""What the tests of outages share: a server that dies and comes back, and a system that is to survive it."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import DEVNULL
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from hippo_messenger.broker import HippoBroker
from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService, OrderSuccess
from hippo_messenger.catalogue.model import EventData
from hippo_messenger.errors import HippoError, SendError
from hippo_messenger.job import HippoJob
from hippo_messenger.messenger import HippoMessenger
from hippo_messenger.observer import Observer
from hippo_messenger.testing import eventually
from hippo_messenger.worker import HippoWorker
from tests.conftest import free_port
from tests.contract.bus import Bus


class MortalServer:
    """A server that is killed and comes back at the same place, with all that it had accepted."""

    def __init__(self, program: str, directory: Path) -> None:
        self._port = free_port()
        self._words = (program, "--port", str(self._port), "--bind", "127.0.0.1", "--dir", str(directory), "--save", "")
        self.url = f"redis://127.0.0.1:{self._port}/0"

    async def start(self, *options: str) -> None:
        keep = ("--appendonly", "yes", "--appendfsync", "always")
        self._process = await asyncio.create_subprocess_exec(*self._words, *(options or keep), stdout=DEVNULL)
        await eventually(self._listens)

    async def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def _listens(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            return False
        writer.close()
        await writer.wait_closed()
        return True


@dataclass
class Listening(Observer):
    """Remembers what went wrong, and who was started again."""

    errors: list[HippoError] = field(default_factory=list)
    restarts: list[tuple[str, str]] = field(default_factory=list)
    readiness: list[tuple[str, str]] = field(default_factory=list)

    def trouble(self, error: HippoError) -> None:
        self.errors.append(error)

    def restarted(self, owner: str, *, loop: str, error: BaseException) -> None:
        self.restarts.append((owner, loop))

    def unready(self, owner: str, *, reason: str) -> None:
        self.readiness.append((owner, reason))

    def ready(self, owner: str) -> None:
        self.readiness.append((owner, ""))

    async def met(self, kind: type[HippoError]) -> None:
        """Wait until an error of this kind was met."""

        async def check() -> bool:
            return any(isinstance(error, kind) for error in self.errors)

        await eventually(check)


@dataclass
class System:
    """One broker, one worker of account, and one sender, all of which go to the same place."""

    bus: Bus
    sender: HippoMessenger
    observer: Listening
    processed: Counter[str] = field(default_factory=Counter)
    sent: list[str] = field(default_factory=list)
    broker: HippoBroker = field(init=False)
    account: HippoMessenger = field(init=False)
    worker: HippoWorker = field(init=False)

    @classmethod
    async def started(cls, bus: Bus, *, url: str | None = None) -> System:
        observer = Listening()
        system = cls(bus, bus.messenger(HippoService.ORDER, url=url, observer=observer), observer)
        system.broker = await bus.broker(url=url, observer=observer)
        system.account = await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS, url=url, observer=observer)
        system.worker = await bus.worker(system.account, system.process)
        await system.works()
        return system

    async def process(self, job: HippoJob[EventData]) -> None:
        await asyncio.sleep(0)
        self.processed[job.id] += 1

    async def send(self) -> str:
        """As a careful user does: again, under the same id, for as long as it takes."""
        event_id = f"event-of-the-outage-{len(self.sent)}"
        self.sent.append(event_id)
        while True:
            try:
                return await self.sender.send(order(len(self.sent)), event_id=event_id)
            except SendError:
                await asyncio.sleep(0.01)

    async def works(self) -> None:
        """Send one event and wait until it and all before it are processed."""
        await self.send()
        await eventually(self.done, timeout=20)

    async def done(self) -> None:
        assert set(self.processed) == set(self.sent)


def order(number: int) -> OrderSuccess:
    return OrderSuccess(order_id=str(number), total=Decimal(number))
