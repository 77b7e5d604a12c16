"""For how long single script calls hold Redis: with fifty listeners × 64 KB, and three × 400 bytes.

    make bench-calls
    make bench-calls ARGS="--listeners 50 --bytes 65536 --events 100"

A broker, a sender and three workers as in `make bench` in one process, on a server of its own that writes an
append-only file, one call at a time. What counts is the time
that Redis' main thread had a processor in each call, so that the figures hold on a busy machine too: SLOWLOG has the
time that passes.
"""

from __future__ import annotations

import asyncio
import math
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from enum import auto
from itertools import pairwise
from typing import Any

import redis.asyncio
from rich.box import SIMPLE_HEAD
from rich.table import Table

from bench.buses import OURS
from bench.options import asked, parser
from bench.server import Server, machine
from bench.tables import headed
from hippo_messenger import (
    Catalogue,
    EventData,
    EventType,
    HippoBroker,
    HippoJob,
    HippoMessenger,
    HippoWorker,
    Service,
    Settings,
)
from hippo_messenger.queues.call import Argument, Caller

SETTINGS = Settings(prefix="{bench}")
LISTENERS, WORKERS = 50, 3
BUNCH_BYTES = 64 * 1024 * 1024
"""About so many bytes of copies are on their way at a time, so that Redis needs no more memory than a laptop has."""

Services: Any = Service("Services", {"SENDER": "sender", **{f"S{at}": f"s{at}" for at in range(LISTENERS)}})  # type: ignore[call-arg]


class Events(EventType):
    BLOB = auto()


class Blob(EventData, event_type=Events.BLOB, since="1.0"):
    """So many bytes."""

    filler: str


CATALOGUE = Catalogue(services=Services, events=Events, models=[Blob])


class Meter:
    """Lets one call of a script after the other through, and notes how long each took."""

    def __init__(self, watcher: Any) -> None:
        self.times: dict[str, list[float]] = defaultdict(list)
        self._watcher = watcher
        self._turn = asyncio.Lock()
        self._own = 0.0

    @contextmanager
    def attached(self) -> Iterator[None]:
        """To every caller of this process, until the end of the block."""
        caller_class: Any = Caller
        call, meter = Caller.call, self

        async def measured(
            caller: Caller,
            name: str,
            keys: Sequence[str | bytes],
            arguments: Sequence[Argument],
            **options: Any,
        ) -> list[object]:
            async with meter._turn:
                before = await meter._processor_time()
                reply = await call(caller, name, keys, arguments, **options)
                meter.times[name].append(max(await meter._processor_time() - before - meter._own, 0.0))
                return reply

        caller_class.call = measured
        try:
            yield
        finally:
            caller_class.call = call

    async def calibrate(self) -> None:
        """Learn what looking costs."""
        looks = [await self._processor_time() for _ in range(201)]
        self._own = statistics.median(later - earlier for earlier, later in pairwise(looks))

    async def _processor_time(self) -> float:
        """Of Redis' main thread, in ms."""
        info = await self._watcher.info("cpu")
        return 1000 * (float(info["used_cpu_user_main_thread"]) + float(info["used_cpu_sys_main_thread"]))


async def measure(
    program: str, *, listeners: int, size: int, events: int, concurrency: int, append_only: bool
) -> dict[str, list[float]]:
    """Script -> how long each of its calls took, in ms."""
    async with Server(program, append_only=append_only) as server, AsyncExitStack() as stack:
        watcher: Any = redis.asyncio.Redis.from_url(server.url, socket_timeout=60)
        stack.push_async_callback(watcher.aclose)
        messengers = [
            HippoMessenger(
                service_name=service,
                listens_to=[Events.BLOB] if service.value != "sender" else [],
                redis_connection=server.url,
                catalogue=CATALOGUE,
                settings=SETTINGS,
            )
            for service in list(Services)[: listeners + 1]
        ]
        for messenger in messengers:
            await stack.enter_async_context(messenger)
        await stack.enter_async_context(
            HippoBroker(redis_connection=server.url, catalogue=CATALOGUE, settings=SETTINGS)
        )
        for messenger in messengers[1:]:
            await messenger.register(wait=True)
        for messenger in messengers[1 : WORKERS + 1]:
            worker = HippoWorker(messenger=messenger, processor=process, concurrency=concurrency)
            await stack.enter_async_context(worker)
        meter = Meter(watcher)
        await meter.calibrate()
        with meter.attached():
            for bunch in bunches(events, max(BUNCH_BYTES // (size * listeners), 1)):
                await messengers[0].send_many([Blob(filler="x" * size)] * bunch)
                await all_done(watcher)
                await forget(watcher, [messenger.service.value for messenger in messengers[WORKERS + 1 :]])
        return meter.times


async def process(job: HippoJob[EventData]) -> None:
    """Done."""


def bunches(events: int, most: int) -> Iterator[int]:
    for first in range(0, events, most):
        yield min(most, events - first)


async def all_done(watcher: Any) -> None:
    """Wait until nothing waits or runs for the broker and the services that have workers."""
    keys = [
        f"{SETTINGS.prefix}:{queue}:{state}"
        for queue in ("broker", *(f"s{number}" for number in range(WORKERS)))
        for state in ("wait", "active")
    ]
    while await watcher.exists(*keys):
        await asyncio.sleep(0.05)


async def forget(watcher: Any, services: Sequence[str]) -> None:
    """Drop what waits for services without workers."""
    for service in services:
        base = f"{SETTINGS.prefix}:{service}:"
        ids = await watcher.lrange(f"{base}wait", 0, -1)
        if ids:
            await watcher.unlink(f"{base}wait", *(base.encode() + job_id for job_id in ids))


def percentile(times: Sequence[float], part: float) -> float:
    return sorted(times)[min(math.ceil(len(times) * part), len(times)) - 1]


async def main() -> None:
    wanted = parser(__doc__)
    wanted.add_argument(
        "--listeners", type=int, choices=range(WORKERS, LISTENERS + 1), metavar=f"{WORKERS}-{LISTENERS}"
    )
    wanted.add_argument("--bytes", type=int, default=400)
    wanted.add_argument("--events", type=int, default=0)
    wanted.add_argument("--concurrency", type=int, default=OURS.concurrency, help="of each worker")
    wanted.add_argument("--persistence", choices=("off", "on"), default="on")
    told = asked(wanted)
    console = headed(machine(told.server))
    cases = (
        [(told.listeners, told.bytes, told.events or 1000)]
        if told.listeners
        else [
            (3, 400, told.events or 30_000),
            (50, 64 * 1024, told.events or 600),
        ]
    )
    table = Table(
        title="Milliseconds of Redis a call", title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False
    )
    table.add_column("listeners × bytes")
    table.add_column("script")
    for title in ("calls", "median", "p99", "p99.9", "longest"):
        table.add_column(title, justify="right")
    for listeners, size, events in cases:
        found = await measure(
            told.server,
            listeners=listeners,
            size=size,
            events=events,
            concurrency=told.concurrency,
            append_only=told.persistence == "on",
        )
        every = [time for times in found.values() for time in times]
        for name, times in [*sorted(found.items()), ("all", every)]:
            figures = (percentile(times, part) for part in (0.5, 0.99, 0.999, 1))
            table.add_row(f"{listeners} × {size:,}", name, f"{len(times):,}", *(f"{figure:.2f}" for figure in figures))
    console.print(table)


if __name__ == "__main__":
    asyncio.run(main())
