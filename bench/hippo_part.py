"""One part of our bus: `sender`, `router` or `service`; see node/part.mjs."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from enum import auto
from typing import Any

import uvloop

from bench.part import Tally, Task, say
from hippo_messenger import (
    Catalogue,
    HippoBroker,
    HippoEvent,
    HippoJob,
    HippoMessenger,
    HippoWorker,
    OrderSuccess,
    Service,
    Settings,
)
from hippo_messenger.catalogue.golden_hippo import CATALOGUE

ROLE, URL, PREFIX, CONCURRENCY, EVENTS, RATE, SERVICES, *NAME = sys.argv[1:]
TOTAL = int(EVENTS)
SETTINGS = Settings(prefix=PREFIX)


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
        task = await Task.told(events=TOTAL, rate=float(RATE))

        async def one(data: dict[str, Any]) -> None:
            await messenger.send(OrderSuccess.model_validate(data))

        async def many(data: Sequence[dict[str, Any]]) -> None:
            await messenger.send_many([OrderSuccess.model_validate(each) for each in data])

        await task.deliver(one, many)
        await asyncio.Event().wait()  # until its CPU time is read


async def router() -> None:
    async with HippoBroker(redis_connection=URL, settings=SETTINGS, catalogue=BENCH_CATALOGUE):
        say({"ready": True})
        await asyncio.Event().wait()


async def service() -> None:
    messenger = HippoMessenger(
        service_name=BenchService(NAME[0]),
        listens_to=[HippoEvent.ORDER_SUCCESS],
        redis_connection=URL,
        settings=SETTINGS,
        catalogue=BENCH_CATALOGUE,
    )
    tally = Tally(TOTAL)
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
