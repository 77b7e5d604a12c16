"""What a long backlog costs: memory of broker and worker, and how fast they go beside an empty queue.

    make bench-backlog                                      # a million waiting events
    make bench-backlog ARGS="--waiting 200000 --bytes 400"

Two servers side by side: on one all events wait, first for the broker and then for the worker; on the other no more
than the speed is taken of. Broker and worker are processes of their own. Turn by turn each takes some events of the
short and of the long queue, so that an hour in which the machine is slower is one for both; the table has medians:
events a second, and the processor time of Redis' main thread. Then they take what is left, and their memory is that at
its most. At the end a backlog of the largest events.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import redis.asyncio
import uvloop
from rich.box import SIMPLE_HEAD
from rich.table import Table

from bench.options import asked, parser
from bench.process import megabytes, until_terminated
from bench.server import Server, machine
from bench.tables import headed
from hippo_messenger import (
    HippoBroker,
    HippoEvent,
    HippoJob,
    HippoMessenger,
    HippoService,
    HippoWorker,
    OrderSuccess,
    Settings,
)
from hippo_messenger.queues.layout import Layout

SETTINGS = Settings(prefix="{bench}", completed_count=1000)
LAYOUT = Layout(SETTINGS.prefix)
LARGEST = 1024 * 1024
QUEUES = {"broker": "broker", "worker": "shipping"}


@dataclass(frozen=True)
class Passed:
    """How one process got through some events."""

    events: int
    seconds: float
    redis_seconds: float


@dataclass(frozen=True)
class Case:
    """What is measured: so many events of a size, for the speed some of them at a time."""

    waiting: int
    size: int
    measured: int
    runs: int


@dataclass(frozen=True)
class Result:
    """Of one role: its turns at the short and at the long queue, and its memory (MB) at its most."""

    short: Sequence[Passed]
    long: Sequence[Passed]
    memory: float


async def measured(program: str, case: Case) -> dict[str, Result]:
    """Of broker and worker."""
    results: dict[str, Result] = {}
    async with Server(program, append_only=False) as full, Server(program, append_only=False) as empty:
        for server in (full, empty):
            await register(server.url)
        await send(full.url, case.waiting + case.runs * case.measured, case.size)
        for role in QUEUES:
            short, long = [], []
            for _ in range(case.runs):
                await send(empty.url, case.measured, case.size)
                if role == "worker":
                    await drained("broker", empty.url)
                short.append(await turn(role, empty.url, events=case.measured))
                for other in QUEUES:  # also what the turn has put back
                    await drained(other, empty.url)
                long.append(await turn(role, full.url, events=case.measured))
            results[role] = Result(short, long, await drained(role, full.url))
    return results


async def register(url: str) -> None:
    shipping = HippoMessenger(
        service_name=HippoService.SHIPPING,
        listens_to=[HippoEvent.ORDER_SUCCESS],
        redis_connection=url,
        settings=SETTINGS,
    )
    async with running("broker", url), shipping:
        await shipping.register(wait=True, timeout=60)


async def turn(role: str, url: str, *, events: int) -> Passed:
    """A process takes so many events off its queue, and is stopped."""
    key = LAYOUT.queue(QUEUES[role]).base + "wait"
    async with watching(url) as watcher:
        waiting = await watcher.llen(key)
        async with running(role, url):
            await left(watcher, key, waiting - 1)  # it is up
            before, began, spent = await watcher.llen(key), time.monotonic(), await processor_seconds(watcher)
            await left(watcher, key, waiting - events)
            taken, seconds = before - await watcher.llen(key), time.monotonic() - began
            return Passed(taken, seconds, await processor_seconds(watcher) - spent)


async def drained(role: str, url: str) -> float:
    """The most memory (MB) of a process that has taken all that waits for it."""
    queue = LAYOUT.queue(QUEUES[role])
    async with watching(url) as watcher, running(role, url) as process:
        await left(watcher, queue.base + "wait", 0)
        while await watcher.exists(queue.base + "active"):
            await asyncio.sleep(0.05)
        return megabytes(process.pid, "VmHWM")


@asynccontextmanager
async def watching(url: str) -> AsyncIterator[Any]:
    watcher = redis.asyncio.Redis.from_url(url, socket_timeout=60)
    yield watcher
    await watcher.aclose()


@asynccontextmanager
async def running(role: str, url: str) -> AsyncIterator[Process]:
    """A process of this program in a role, until the end of the block."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "bench.backlog", role, url, stdout=DEVNULL)
    yield process
    process.terminate()
    await process.wait()


async def send(url: str, count: int, size: int) -> None:
    order = OrderSuccess(order_id="O-000123", total=Decimal("61.30"), email="c-00042@example.com")
    order = order.model_copy(update={"order_id": "O" * max(size - 250, 8)})
    async with HippoMessenger(service_name=HippoService.ORDER, redis_connection=url, settings=SETTINGS) as messenger:
        for first in range(0, count, 1000):
            await messenger.send_many([order] * min(1000, count - first))


async def left(watcher: Any, key: str, count: int) -> None:
    while await watcher.llen(key) > count:
        await asyncio.sleep(0.01)


async def processor_seconds(watcher: Any) -> float:
    """Of Redis' main thread."""
    info = await watcher.info("cpu")
    return float(info["used_cpu_user_main_thread"]) + float(info["used_cpu_sys_main_thread"])


async def broker(url: str) -> None:
    async with HippoBroker(redis_connection=url, settings=SETTINGS):
        await until_terminated()


async def worker(url: str) -> None:
    async def process(job: HippoJob[Any]) -> None:
        """Done."""

    messenger = HippoMessenger(service_name=HippoService.SHIPPING, redis_connection=url, settings=SETTINGS)
    async with messenger, HippoWorker(messenger=messenger, processor=process, concurrency=50):
        await until_terminated()


async def main() -> None:
    wanted = parser(__doc__)
    wanted.add_argument("--waiting", type=int, default=1_000_000)
    wanted.add_argument("--measured", type=int, default=20_000, help="how many of them a turn takes")
    wanted.add_argument("--runs", type=int, default=5, help="how many turns")
    wanted.add_argument("--bytes", type=int, default=400)
    wanted.add_argument("--large", type=int, default=300, help=f"how many events of {LARGEST:,} bytes; 0 for none")
    told = asked(wanted)
    console = headed(machine(told.server))
    table = Table(
        title="A backlog, and an empty queue beside it",
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    for title in ("waiting", "bytes", "process", "events/s", "(empty)", "Redis µs", "(empty)", "more", "MB"):
        table.add_column(title, justify="left" if title == "process" else "right")
    cases = [Case(told.waiting, told.bytes, min(told.measured, told.waiting), told.runs)]
    cases += [Case(told.large, LARGEST - 1024, 0, 0)] if told.large else []
    for case in cases:
        for role, result in (await measured(told.server, case)).items():
            table.add_row(f"{case.waiting:,}", f"{case.size:,}", role, *speed(result), f"{result.memory:.0f}")
    console.print(table)


def speed(result: Result) -> Sequence[str]:
    """Events a second, Redis' time an event, and how much more that is than with an empty queue."""
    if not result.long:
        return [""] * 5
    rates = [statistics.median(one.events / one.seconds for one in turns) for turns in (result.long, result.short)]
    costs = [
        statistics.median(1e6 * one.redis_seconds / one.events for one in turns)
        for turns in (result.long, result.short)
    ]
    return (
        *(f"{rate:,.0f}" for rate in rates),
        *(f"{cost:.1f}" for cost in costs),
        f"{100 * (costs[0] / costs[1] - 1):+.0f} %",
    )


if __name__ == "__main__":
    if sys.argv[1:2] in (["broker"], ["worker"]):
        uvloop.run({"broker": broker, "worker": worker}[sys.argv[1]](sys.argv[2]))
    else:
        os.environ.pop("HIPPO_PREFIX", None)
        asyncio.run(main())
