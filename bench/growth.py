"""What more of everything costs: listeners of an event, services that are registered, and events that wait.

    make bench-growth                                   # some minutes
    make bench-growth ARGS="--deliveries 5000 --waiting 5000 --runs 1"

Routing: 400-byte events are lined up while the broker is held (SIGSTOP), then it takes them; what is counted is the
processor time of Redis' main thread and of the broker, and nothing else runs meanwhile. The copies are dropped after
each turn, so that memory doesn't grow. Services beside the listeners are registered for another type of event.

Streams: BullMQ's events streams of as many services, each full (opts.maxLenEvents); one is filled by its jobs, the
others are copies of it, and each is asked for its MEMORY USAGE.

Waiting: what Redis' used_memory loses when the waiting jobs of a service's queue are deleted, and then its events
stream. Ours are copies that the broker has made; stock BullMQ in Node adds as many jobs with the same envelope and the
same options, each under an id of its own as ours have.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import statistics
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import auto
from typing import Any

import uvloop

from bench.backlog import processor_seconds as redis_seconds
from bench.backlog import watching
from bench.buses import NODE_PACKAGES
from bench.contest import ROOT, event_data
from bench.options import asked, counts, parser
from bench.process import processor_seconds, run_to_end, until_terminated
from bench.server import Server, machine
from bench.steps import Steps
from bench.tables import headed, show
from hippo_messenger import Catalogue, EventData, EventType, HippoBroker, HippoMessenger, Service, Settings
from hippo_messenger.queues.layout import Layout

SETTINGS = Settings(prefix="{bench}")
LAYOUT = Layout(SETTINGS.prefix)
MOST = 200
ROUTING = ("listeners", "registered", "events", "Redis µs", "broker µs", "Redis a copy", "broker a copy")

Services: Any = Service("Services", {"SENDER": "sender", **{f"S{at}": f"s{at}" for at in range(MOST)}})  # type: ignore[call-arg]


class Events(EventType):
    ORDER = auto()
    OTHER = auto()


class Order(EventData, event_type=Events.ORDER, since="1.0"):
    """An order, as the other benchmarks send it."""


class Other(EventData, event_type=Events.OTHER, since="1.0"):
    """What nobody sends."""


CATALOGUE = Catalogue(services=Services, events=Events, models=[Order, Other])
ORDER = Order.model_validate(event_data(400))


@dataclass(frozen=True)
class Case:
    """How many listen to the event, of how many services."""

    listeners: int
    registered: int


@dataclass(frozen=True)
class Turn:
    """Seconds that so many events took."""

    events: int
    redis: float
    broker: float


async def routed(program: str, case: Case, *, deliveries: int, runs: int, steps: Steps) -> list[Turn]:
    """Several turns of one broker."""
    what = f"{case.listeners} of {case.registered} services listen"
    events = max(deliveries // case.listeners, 1)
    turns = []
    async with (
        Server(program, append_only=False) as server,
        watching(server.url) as watcher,
        broker_process(server.url) as broker,
        sender(server.url) as order,
    ):
        with steps.step(what):
            await register(server.url, case)
            await turn(watcher, broker, order, case, events=events)  # to warm up
        for _ in range(runs):
            with steps.step(what):
                turns.append(await turn(watcher, broker, order, case, events=events))
    return turns


async def turn(watcher: Any, broker: Process, order: HippoMessenger, case: Case, *, events: int) -> Turn:
    """So many events are lined up, the broker takes them, and the copies are dropped."""
    broker.send_signal(signal.SIGSTOP)
    await line_up(order, events)
    before = await redis_seconds(watcher), processor_seconds(broker.pid)
    broker.send_signal(signal.SIGCONT)
    await routed_all(watcher)
    after = await redis_seconds(watcher), processor_seconds(broker.pid)
    await forget(watcher, case.listeners)
    return Turn(events, after[0] - before[0], after[1] - before[1])


async def line_up(order: HippoMessenger, events: int) -> None:
    for first in range(0, events, 1000):
        await order.send_many([ORDER] * min(1000, events - first))


async def routed_all(watcher: Any) -> None:
    """Wait until the broker has nothing left."""
    keys = [LAYOUT.broker.base + state for state in ("wait", "active")]
    while await watcher.exists(*keys):
        await asyncio.sleep(0.02)


async def forget(watcher: Any, listeners: int) -> None:
    """Drop all that waits for the listeners."""
    for number in range(listeners):
        await delete_waiting(watcher, f"s{number}")


async def delete_waiting(watcher: Any, service: str) -> int:
    """The jobs that wait in a queue; how many there were."""
    queue = LAYOUT.queue(service)
    ids = await watcher.lrange(queue.base + "wait", 0, -1)
    for first in range(0, len(ids), 1000):
        await watcher.delete(*(queue.base.encode() + each for each in ids[first : first + 1000]))
    await watcher.delete(queue.base + "wait")
    return len(ids)


async def register(url: str, case: Case) -> None:
    """All services, one after the other."""
    for number in range(case.registered):
        listens_to = [Events.ORDER if number < case.listeners else Events.OTHER]
        async with messenger(url, f"s{number}", listens_to) as one:
            await one.register(wait=True, timeout=60)


def messenger(url: str, service: str, listens_to: Sequence[EventType] = ()) -> HippoMessenger:
    return HippoMessenger(
        service_name=Services(service),
        listens_to=listens_to,
        redis_connection=url,
        settings=SETTINGS,
        catalogue=CATALOGUE,
    )


def sender(url: str) -> HippoMessenger:
    return messenger(url, "sender")


@asynccontextmanager
async def broker_process(url: str) -> AsyncIterator[Process]:
    """A broker with a process of its own, until the end of the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.growth", "broker", "--url", url, stdout=DEVNULL
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        await process.wait()


async def broker(url: str) -> None:
    async with HippoBroker(redis_connection=url, settings=SETTINGS, catalogue=CATALOGUE):
        await until_terminated()


async def streams(program: str, count: int) -> tuple[int, int, int]:
    """Entries of a full events stream, its bytes, and those of as many streams as there are services."""
    async with (
        Server(program, append_only=False) as server,
        watching(server.url) as watcher,
        broker_process(server.url),
        sender(server.url) as order,
    ):
        await register(server.url, Case(1, 1))
        events, before = LAYOUT.queue("s0").base + "events", -1
        while (length := await watcher.xlen(events)) > before:  # once it is full, it is trimmed
            before = length
            await line_up(order, 1000)
            await routed_all(watcher)
        for number in range(1, count):
            await watcher.copy(events, LAYOUT.queue(f"s{number}").base + "events")
        sizes = [
            await watcher.memory_usage(LAYOUT.queue(f"s{number}").base + "events", samples=0) for number in range(count)
        ]
        return length, sizes[0], sum(sizes)


@dataclass(frozen=True)
class Waiting:
    """Bytes of Redis for each waiting job, and those of its queue's events stream beside them."""

    job: float
    stream: float


async def waiting(program: str, count: int) -> tuple[Waiting, Waiting]:
    """Ours, and those of stock BullMQ."""
    async with Server(program, append_only=False) as server, watching(server.url) as watcher:
        async with broker_process(server.url), sender(server.url) as order:
            await register(server.url, Case(1, 1))
            await line_up(order, count)
            await routed_all(watcher)
        queue = LAYOUT.queue("s0")
        one = (await watcher.lrange(queue.base + "wait", 0, 0))[0].decode()
        data, options = await watcher.hmget(queue.job(one), "data", "opts")
        told = {"id": one, "name": "ORDER", "data": data.decode(), "options": json.loads(options), "count": count}
        ours = await freed(watcher, "s0", count)
    async with Server(program, append_only=False) as server, watching(server.url) as watcher:
        await stored(server.url, "s0", told)
        return ours, await freed(watcher, "s0", count)


async def stored(url: str, service: str, told: dict[str, Any]) -> None:
    """Stock BullMQ in Node adds the jobs."""
    words = ("node", str(NODE_PACKAGES / "store.mjs"), url, SETTINGS.prefix, service)
    process = await asyncio.create_subprocess_exec(*words, stdin=PIPE, cwd=ROOT)
    await process.communicate(json.dumps(told).encode())
    if process.returncode:
        raise RuntimeError("Node could not add its jobs; what it wrote says why")


async def freed(watcher: Any, service: str, count: int) -> Waiting:
    """By deleting them."""
    full = await used(watcher)
    found = await delete_waiting(watcher, service)
    assert found == count, found
    without_jobs = await used(watcher)
    await watcher.delete(LAYOUT.queue(service).base + "events")
    return Waiting((full - without_jobs) / count, (without_jobs - await used(watcher)) / count)


async def used(watcher: Any) -> int:
    """Bytes, once Redis has made its table of keys as small as it needs."""
    await asyncio.sleep(1)
    return int((await watcher.info("memory"))["used_memory"])


def routing_line(case: Case, turns: Sequence[Turn]) -> tuple[str, ...]:
    costs = [statistics.median(1e6 * cost / one.events for one, cost in each) for each in both(turns)]
    return (
        str(case.listeners),
        str(case.registered),
        f"{turns[0].events:,}",
        *(f"{cost:,.0f}" for cost in costs),
        *(f"{cost / case.listeners:.1f}" for cost in costs),
    )


def both(turns: Sequence[Turn]) -> tuple[list[tuple[Turn, float]], list[tuple[Turn, float]]]:
    """Each turn with the time of Redis, and with that of the broker."""
    return [(one, one.redis) for one in turns], [(one, one.broker) for one in turns]


def waiting_lines(ours: Waiting, stock: Waiting) -> list[tuple[str, ...]]:
    rows = {"ours": ours, "BullMQ, Node": stock, "ours ÷ Node": None}
    ratios = (ours.job / stock.job, (ours.job + ours.stream) / (stock.job + stock.stream))
    return [
        (name, *((f"{one.job:,.0f}", f"{one.job + one.stream:,.0f}") if one else (f"{each:.2f}" for each in ratios)))
        for name, one in rows.items()
    ]


async def main(told: argparse.Namespace) -> None:
    if max(*told.listeners, *told.services) > MOST:
        raise SystemExit(f"expected at most {MOST} services")
    cases = [Case(number, number) for number in told.listeners]
    cases += [Case(min(3, number), number) for number in told.services]
    console = headed(machine(told.server, packages=NODE_PACKAGES))
    with Steps(console, total=len(cases) * (told.runs + 1) + 2) as steps:
        lines = []
        for case in cases:
            turns = await routed(told.server, case, deliveries=told.deliveries, runs=told.runs, steps=steps)
            lines.append(routing_line(case, turns))
        title = "Routing a 400-byte event: µs of Redis and of the broker, for the event and for each copy"
        show(console, title, ROUTING, lines)
        with steps.step("events streams"):
            many = max(told.services)
            length, one, every = await streams(told.server, many)
        line = (f"{many}", f"{length:,}", f"{one:,}", f"{every / 2**20:,.1f}")
        show(console, "Full events streams", ("services", "entries each", "bytes each", "MB together"), [line])
        with steps.step("waiting events"):
            found = await waiting(told.server, told.waiting)
        title = f"Bytes of Redis for each of {told.waiting:,} waiting events"
        show(console, title, ("", "without events stream", "with it"), waiting_lines(*found))


if __name__ == "__main__":
    options = parser(__doc__)
    options.add_argument("role", nargs="?", choices=["broker"], help=argparse.SUPPRESS)
    options.add_argument("--url", help=argparse.SUPPRESS)
    options.add_argument("--deliveries", type=int, default=30_000, help="copies of a turn")
    options.add_argument("--runs", type=int, default=5, help="how many turns")
    options.add_argument("--listeners", type=counts, default=[3, 10, 50])
    options.add_argument("--services", type=counts, default=[10, 50, 200], help="registered, of which three listen")
    options.add_argument("--waiting", type=int, default=20_000)
    told = options.parse_args()
    if told.role:
        uvloop.run(broker(told.url))
    else:
        run_to_end(main(asked(options)))
