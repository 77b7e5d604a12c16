"""What a long backlog costs: memory of broker and worker, and how fast they go beside short queues.

    make bench-backlog                                      # a million waiting events
    make bench-backlog ARGS="--waiting 200000 --bytes 400"

Broker and worker are processes of their own. Turn by turn each takes some events of the long queue, and of short
queues beside it: one on the same server that was written before the long one, one on the same server that was written
just now, and one that was written just now on a server that holds nothing else. So the length of a queue, the age of
its events and what else Redis holds are told apart: what is in no cache of the processor any more costs more,
whatever queue it is in. Turns alternate, so that an hour in which the machine is slower is one for all; the table has
medians: events a second, the processor time of Redis' main thread an event, and how the long queue compares. Then the
processes take what is left, and their memory is that at its most. At the end a backlog of the largest events.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import redis.asyncio
import uvloop

from bench.options import asked, parser
from bench.order import an_order
from bench.process import megabytes, until_terminated
from bench.server import Server, machine
from bench.tables import headed, show
from hippo_messenger import (
    HippoBroker,
    HippoEvent,
    HippoJob,
    HippoMessenger,
    HippoService,
    HippoWorker,
    Settings,
)
from hippo_messenger.queues.layout import Layout

LARGEST = 1024 * 1024
QUEUES = {"broker": "broker", "worker": "shipping"}
LONG, OLD, NEW, ALONE = "long", "old", "new", "alone"


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
class Place:
    """Where a system of its own is: a server, and the prefix of its keys."""

    url: str
    name: str

    @property
    def settings(self) -> Settings:
        return Settings(prefix=f"{{{self.name}}}", completed_count=1000)

    def key(self, role: str, state: str) -> str:
        """Of the list of jobs in that state, in the queue that a role takes from."""
        return Layout(self.settings.prefix).queue(QUEUES[role]).base + state


@dataclass(frozen=True)
class Result:
    """Of one role: its turns at each kind of queue, and its memory (MB) at its most."""

    turns: Mapping[str, Sequence[Passed]]
    memory: float


async def measured(program: str, case: Case) -> dict[str, Result]:
    """Of broker and worker."""
    async with Server(program, append_only=False) as full, Server(program, append_only=False) as empty:
        long, new, alone = Place(full.url, "long"), Place(full.url, "new"), Place(empty.url, "alone")
        old = {role: [Place(full.url, f"{role}-{turn}") for turn in range(case.runs)] for role in QUEUES}
        for place in (long, new, alone, *old["broker"], *old["worker"]):
            await register(place)
        for place in (*old["broker"], *old["worker"]):
            await send(place, case.measured, case.size)
        for place in old["worker"]:
            await drained("broker", place)
        await send(long, case.waiting + case.runs * case.measured, case.size)
        return {role: await compared(role, case, long=long, old=old[role], new=new, alone=alone) for role in QUEUES}


async def compared(role: str, case: Case, *, long: Place, old: Sequence[Place], new: Place, alone: Place) -> Result:
    """The turns of one role; it leaves nothing in the long queue."""
    turns: dict[str, list[Passed]] = {LONG: [], OLD: [], NEW: [], ALONE: []}
    for place in old:
        for kind, at in ((OLD, place), (NEW, new), (LONG, long), (ALONE, alone)):
            if kind in (NEW, ALONE):
                await write_anew(role, case, at)
            turns[kind].append(await turn(role, at, events=case.measured))
    return Result(turns, await drained(role, long))


async def write_anew(role: str, case: Case, place: Place) -> None:
    """As many events as a turn takes, in queues that are empty otherwise."""
    for left_over in QUEUES:  # what the turn before has put back
        await drained(left_over, place)
    await send(place, case.measured, case.size)
    if role == "worker":
        await drained("broker", place)


async def register(place: Place) -> None:
    shipping = HippoMessenger(
        service_name=HippoService.SHIPPING,
        listens_to=[HippoEvent.ORDER_SUCCESS],
        redis_connection=place.url,
        settings=place.settings,
    )
    async with running("broker", place), shipping:
        await shipping.register(wait=True, timeout=60)


async def turn(role: str, place: Place, *, events: int) -> Passed:
    """A process takes so many events off its queue, and is stopped."""
    key = place.key(role, "wait")
    async with watching(place.url) as watcher:
        waiting = await watcher.llen(key)
        async with running(role, place):
            await left(watcher, key, waiting - 1)  # it is up
            before, began, spent = await watcher.llen(key), time.monotonic(), await processor_seconds(watcher)
            await left(watcher, key, waiting - events)
            taken, seconds = before - await watcher.llen(key), time.monotonic() - began
            if not taken:
                raise SystemExit(f"a turn of {events:,} events was over before one could look; give --measured more")
            return Passed(taken, seconds, await processor_seconds(watcher) - spent)


async def drained(role: str, place: Place) -> float:
    """The most memory (MB) of a process that has taken all that waits for it."""
    async with watching(place.url) as watcher, running(role, place) as process:
        await left(watcher, place.key(role, "wait"), 0)
        while await watcher.exists(place.key(role, "active")):
            await asyncio.sleep(0.05)
        return megabytes(process.pid, "VmHWM")


@asynccontextmanager
async def watching(url: str) -> AsyncIterator[Any]:
    watcher = redis.asyncio.Redis.from_url(url, socket_timeout=60)
    yield watcher
    await watcher.aclose()


@asynccontextmanager
async def running(role: str, place: Place) -> AsyncIterator[Process]:
    """A process of this program in a role, until the end of the block."""
    words = ("-m", "bench.backlog", role, place.url, place.name)
    process = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=DEVNULL)
    yield process
    process.terminate()
    await process.wait()


async def send(place: Place, count: int, size: int) -> None:
    order = an_order(order_id="O" * max(size - 250, 8))
    sender = HippoMessenger(service_name=HippoService.ORDER, redis_connection=place.url, settings=place.settings)
    async with sender as messenger:
        for first in range(0, count, 1000):
            await messenger.send_many([order] * min(1000, count - first))


async def left(watcher: Any, key: str, count: int) -> None:
    while await watcher.llen(key) > count:
        await asyncio.sleep(0.01)


async def processor_seconds(watcher: Any) -> float:
    """Of Redis' main thread."""
    info = await watcher.info("cpu")
    return float(info["used_cpu_user_main_thread"]) + float(info["used_cpu_sys_main_thread"])


async def broker(place: Place) -> None:
    async with HippoBroker(redis_connection=place.url, settings=place.settings):
        await until_terminated()


async def worker(place: Place) -> None:
    async def process(job: HippoJob[Any]) -> None:
        """Done."""

    service = HippoService.SHIPPING
    messenger = HippoMessenger(service_name=service, redis_connection=place.url, settings=place.settings)
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
    cases = [Case(told.waiting, told.bytes, min(told.measured, told.waiting), told.runs)]
    cases += [Case(told.large, LARGEST - 1024, 0, 0)] if told.large else []
    columns = ("process", "events/s", "long queue", "Redis µs", "long queue", "MB")
    for case in cases:
        results = await measured(told.server, case)
        lines = [line for role, result in results.items() for line in lines_of(role, case, result)]
        show(console, f"{case.waiting:,} waiting events of {case.size:,} bytes", columns, lines)


def lines_of(role: str, case: Case, result: Result) -> Sequence[Sequence[str]]:
    """Events a second and Redis' time an event, and by how much those of the long queue differ."""
    if not result.turns[LONG]:
        return [(role, "", "", "", "", f"{result.memory:.0f}")]
    rates = {kind: median(one.events / one.seconds for one in turns) for kind, turns in result.turns.items()}
    costs = {
        kind: median(1e6 * one.redis_seconds / one.events for one in turns) for kind, turns in result.turns.items()
    }

    def line(kind: str, title: str) -> Sequence[str]:
        rate, cost = f"{rates[kind]:,.0f}", f"{costs[kind]:.1f}"
        if kind == LONG:
            return (title, rate, "", cost, "", f"{result.memory:.0f}")
        faster, dearer = rates[LONG] / rates[kind] - 1, costs[LONG] / costs[kind] - 1
        return (title, rate, f"{100 * faster:+.0f} %", cost, f"{100 * dearer:+.0f} %", "")

    return [
        line(LONG, role),
        line(OLD, f"  {case.measured:,} written before those"),
        line(NEW, f"  {case.measured:,} written just now"),
        line(ALONE, f"  {case.measured:,} on a server of their own"),
    ]


if __name__ == "__main__":
    if sys.argv[1:2] in (["broker"], ["worker"]):
        uvloop.run({"broker": broker, "worker": worker}[sys.argv[1]](Place(*sys.argv[2:])))
    else:
        os.environ.pop("HIPPO_PREFIX", None)
        asyncio.run(main())
