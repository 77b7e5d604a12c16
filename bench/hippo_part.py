"""One part of our bus: `sender`, `router` or `service`; see node/part.mjs.

Its first argument is `stream`, or `quiet` for queues without an events stream.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from enum import auto
from typing import Any

import uvloop

from bench.part import Tally, Task, laps, say
from hippo_messenger import (
    Catalogue,
    HippoBroker,
    HippoEvent,
    HippoJob,
    HippoMessenger,
    HippoWorker,
    Observer,
    OrderSuccess,
    Service,
    Settings,
)
from hippo_messenger.catalogue.golden_hippo import CATALOGUE

STREAM, ROLE, URL, PREFIX, CONCURRENCY, EVENTS, SERVICES, *NAME = sys.argv[1:]
LAPS = laps(EVENTS)
SETTINGS = Settings(prefix=PREFIX, events_stream=STREAM == "stream")


class BenchService(Service):
    """A sender and the ten services that may listen to it: more than Golden Hippo has."""

    ORDER = auto()
    ACCOUNT = auto()
    SHIPPING = auto()
    NOTIFICATION = auto()
    BILLING = auto()
    INVENTORY = auto()
    SUBSCRIPTION = auto()
    ANALYTICS = auto()
    LOYALTY = auto()
    REVIEWS = auto()
    SUPPORT = auto()


BENCH_CATALOGUE = Catalogue(
    services=BenchService,
    events=HippoEvent,
    models=[CATALOGUE.model(event_type) for event_type in CATALOGUE.event_types],
)


async def sender() -> None:
    async with HippoMessenger(
        service_name=BenchService.ORDER, redis_connection=URL, settings=SETTINGS, catalogue=BENCH_CATALOGUE
    ) as messenger:
        await messenger.connection.open()
        say({"ready": True})

        async def one(data: dict[str, Any]) -> None:
            await messenger.send(OrderSuccess.model_validate(data))

        async def many(data: Sequence[dict[str, Any]]) -> None:
            await messenger.send_many([OrderSuccess.model_validate(each) for each in data])

        for events in LAPS:
            await (await Task.told(events=events)).deliver(one, many)
        await asyncio.Event().wait()  # until its CPU time is read


async def router() -> None:
    async with HippoBroker(redis_connection=URL, settings=SETTINGS, catalogue=BENCH_CATALOGUE):
        say({"ready": True})
        await asyncio.Event().wait()


class Settled(Observer):
    """Counts what is acknowledged."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def settled(self, event_type: str, *, queue: str, outcome: str) -> None:
        self._tally.ended()


async def service() -> None:
    tally = Tally(LAPS)
    messenger = HippoMessenger(
        service_name=BenchService(NAME[0]),
        listens_to=[HippoEvent.ORDER_SUCCESS],
        redis_connection=URL,
        settings=SETTINGS,
        catalogue=BENCH_CATALOGUE,
        observer=Settled(tally),
    )
    worker = HippoWorker(messenger=messenger, concurrency=int(CONCURRENCY))

    @worker.on(OrderSuccess)
    async def process(job: HippoJob[OrderSuccess]) -> None:
        await tally.process(job.data.model_extra or {})

    async with messenger:
        await messenger.register(wait=True, timeout=30)
        async with worker:
            say({"ready": True})
            await asyncio.Event().wait()


async def main() -> None:
    task = asyncio.create_task({"sender": sender, "router": router, "service": service}[ROLE]())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await asyncio.gather(task, return_exceptions=False)


try:
    uvloop.run(main())
except asyncio.CancelledError:
    pass
