"""One Python process of the chaos: a broker, a worker or a sender, that writes down what it sees.

    python -m tests.chaos.member KIND SERVICE LOG [RATE]

Redis and the settings come by the environment. It says `ready` on stdout and ends at SIGTERM. A sender takes `pause`,
`go` and `finish` on stdin; it answers `paused` when nothing is under way.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
import zlib
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from hippo_messenger.broker import HippoBroker
from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService, OrderSuccess
from hippo_messenger.catalogue.model import EventData
from hippo_messenger.errors import NotSentError, PossiblySentError, RedisError, RegistrationError, SendError
from hippo_messenger.job import HippoJob
from hippo_messenger.messenger import HippoMessenger
from hippo_messenger.observer import Observer
from hippo_messenger.processing import Processor
from hippo_messenger.retry import RetryPolicy
from hippo_messenger.shutdown import Shutdown
from hippo_messenger.worker import HippoWorker
from tests.chaos.log import Log
from tests.chaos.roster import SLOTS

RETRY = RetryPolicy(attempts=50, delay=0.1, backoff="fixed")
MOST_UNDER_WAY = 500
WORKING_TIME = 0.02
LONG_WORKING_TIME = float(os.environ.get("CHAOS_LONG", "3"))
"""Longer than a lock, so that it has to be renewed."""


class Trouble(Exception):
    """What a processor raises at times."""


class Watcher(Observer):
    """Writes down which jobs were lost to others."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def lock_lost(self, job_id: str, *, queue: str) -> None:
        self._log.note("lost", job_id)

    def recovered(self, job_ids: tuple[str, ...], *, queue: str) -> None:
        for job_id in job_ids:
            self._log.note("recovered", job_id)


def chance(event_id: str, of: int) -> int:
    """The same for an event in every process and in every run with its seed."""
    return zlib.crc32(event_id.encode()) % of


def processor(log: Log) -> Processor[EventData]:
    async def process(job: HippoJob[EventData]) -> None:
        taken = job.channel._job  # type: ignore[attr-defined]
        log.note("began", job.id, f"{taken.attempts_started} {taken.timestamp}")
        try:
            long = chance(job.id, 1000) < 5
            await asyncio.sleep(LONG_WORKING_TIME if long else WORKING_TIME * chance(job.id, 97) / 97)
        except asyncio.CancelledError:
            log.note("cancelled", job.id)
            raise
        if chance(job.id, 50) == 7 and job.attempt == 1:
            log.note("raised", job.id)
            raise Trouble("at the first attempt")
        log.note("done", job.id)

    return process


class StartedBroker(HippoBroker):
    """Says that it has started."""

    is_started = False

    async def start(self) -> None:
        await super().start()
        self.is_started = True
        print("ready", flush=True)


class StartedWorker(HippoWorker):
    """Says that it has started."""

    is_started = False

    async def start(self) -> None:
        await super().start()
        self.is_started = True
        print("ready", flush=True)


async def broke(log: Log) -> None:
    await run_until_started(lambda: StartedBroker(observer=Watcher(log)))


async def work(service: HippoService, log: Log) -> None:
    listens_to = () if service == HippoService.ORDER else (HippoEvent.ORDER_SUCCESS,)
    async with HippoMessenger(
        service_name=service, listens_to=listens_to, retry=RETRY, observer=Watcher(log)
    ) as messenger:
        await until_registered(messenger)
        await run_until_started(lambda: StartedWorker(messenger=messenger, processor=processor(log), concurrency=SLOTS))


async def run_until_started(make: Callable[[], StartedBroker | StartedWorker]) -> None:
    """Run one; while it can't even start, because Redis is away, try again as a supervisor would."""
    while True:
        one = make()
        try:
            return await one.run()
        except RedisError:
            if one.is_started:
                raise
            await asyncio.sleep(0.1)


async def until_registered(messenger: HippoMessenger) -> None:
    """As a service that is started again and again until Redis and a broker are there."""
    while True:
        try:
            return await messenger.register(wait=True, timeout=5)
        except (SendError, RedisError, RegistrationError):
            await asyncio.sleep(0.1)


class Sender:
    """Sends at a steady rate, whatever happens, and says of each event how that ended."""

    def __init__(self, messenger: HippoMessenger, log: Log, *, name: str, rate: float) -> None:
        self._messenger = messenger
        self._log = log
        self._name = name
        self._rate = rate
        self._under_way: set[asyncio.Task[None]] = set()
        self._going = asyncio.Event()
        self._going.set()
        self._ended = asyncio.Event()

    async def run(self) -> None:
        sending = asyncio.create_task(self._send_all())
        await self._ended.wait()
        self._going.set()
        await sending
        await self._nothing_under_way()

    async def obey(self) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while command := (await reader.readline()).decode().strip():
            if command == "pause":
                self._going.clear()
                await self._nothing_under_way()
                print("paused", flush=True)
            elif command == "go":
                self._going.set()
            else:
                self.end()

    def end(self) -> None:
        self._ended.set()

    async def _send_all(self) -> None:
        due, number = time.monotonic(), 0
        while not self._ended.is_set():
            if not self._going.is_set():
                await self._going.wait()
                due = time.monotonic()
            number, due = number + 1, due + 1 / self._rate
            await asyncio.sleep(max(due - time.monotonic(), 0))
            while len(self._under_way) >= MOST_UNDER_WAY:
                await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
            task = asyncio.create_task(self._send(f"{self._name}-{number:07d}"))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _send(self, event_id: str) -> None:
        """Give up at the first failure, or try again under the same id, as chance has it."""
        order = OrderSuccess(order_id=event_id, total=Decimal(1))
        to_self = chance(event_id, 10) == 1
        delay = 1.5 if chance(event_id, 101) == 1 else 0
        priority = 5 if chance(event_id, 31) == 1 else 0
        stubborn = chance(event_id, 7) != 1
        self._log.note("sending", event_id, "notify" if to_self else "")
        while True:
            try:
                await self._messenger.send(
                    order, event_id=event_id, notify_self=to_self, delay=delay, priority=priority
                )
            except NotSentError:
                self._log.note("unsent", event_id)
            except PossiblySentError:
                self._log.note("possibly", event_id)
            else:
                self._log.note("accepted", event_id)
                if chance(event_id, 53) != 1 or not stubborn:
                    return
                stubborn = False  # once more, as a sender does that has forgotten
                continue
            if not stubborn:
                return
            await asyncio.sleep(0.05)
            self._log.note("again", event_id)

    async def _nothing_under_way(self) -> None:
        while self._under_way:
            await asyncio.wait(tuple(self._under_way))


async def send(service: HippoService, log: Log, *, name: str, rate: float) -> None:
    async with HippoMessenger(service_name=service, retry=RETRY) as messenger:
        await until_registered(messenger)
        sender = Sender(messenger, log, name=name, rate=rate)
        with Shutdown() as shutdown:
            print("ready", flush=True)
            obeying = asyncio.create_task(sender.obey())
            running = asyncio.create_task(sender.run())
            await shutdown.asked_or(asyncio.shield(running))
            sender.end()
            await running
            obeying.cancel()


async def main(kind: str, service: str, path: str, rate: str = "0") -> None:
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    log = Log(Path(path))
    if kind == "broker":
        await broke(log)
    elif kind == "worker":
        await work(HippoService(service), log)
    else:
        await send(HippoService(service), log, name=Path(path).stem.replace(".", "-"), rate=float(rate))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
