"""What each script call costs Redis: publish, route to three services, take and settle, by the server's own count.

    make bench-scripts
    make bench-scripts ARGS="--events 5000 --runs 1"

One process, one call at a time, a server of its own: what is counted is what the server spends in scripts, so that a
change to one of them shows even where the machine is busy. The least of several runs counts. The second table says
which of Redis' commands the scripts call, how often for an event, and what they take; the rest is Lua's, and the way in
and out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import redis.asyncio

from bench.options import asked, parser
from bench.order import an_order
from bench.server import Server, machine
from bench.tables import headed, show
from hippo_messenger.catalogue.model import to_wire
from hippo_messenger.envelope import encode, new_event_id
from hippo_messenger.observer import Observer
from hippo_messenger.queues.call import Caller
from hippo_messenger.queues.connection import Connection
from hippo_messenger.queues.delivery import Order, Outcome, QueuedJob, Routing
from hippo_messenger.queues.layout import Layout
from hippo_messenger.queues.publisher import Publication, Publisher
from hippo_messenger.queues.queue import Queue, event_digest
from hippo_messenger.registration import Registration, Retention
from hippo_messenger.settings import Settings

SERVICES = ("account", "shipping", "notification")
KEEP = Retention(age=3600, count=1000)
PUBLISHED, ROUTED, SETTLED = 200, 100, 200
"""Jobs a call."""
SCRIPTS = ("evalsha", "eval")
AROUND = ("info", "config|resetstat", "script|load", "hello", "client|setinfo", "client|setname", "select")
"""Commands that no script calls."""
SMALL = 0.5
"""Commands that take less (µs an event) share a line."""


class Bus:
    """The calls of one broker and three workers, one after the other."""

    def __init__(self, url: str, *, events_stream: bool) -> None:
        self._settings = Settings(events_stream=events_stream)
        self.connection = Connection.of(url, settings=self._settings)
        self._caller = Caller(self.connection, observer=Observer())
        self._layout = Layout(self._settings.prefix)
        self._publisher = Publisher(self._caller, self._layout, own_queue="order", settings=self._settings)
        self._listeners = tuple(Registration(name, frozenset({"ORDER_SUCCESS"})) for name in SERVICES)
        self._version = 0

    async def register(self) -> None:
        key = self._layout.registry_version
        await self.connection.execute("SET", key, 1)
        self._version = 1

    async def publish(self, number: int) -> None:
        data = to_wire(an_order())
        data = data[:-1] + b',"filler":"' + b"x" * (400 - len(data)) + b'"}'
        for first in range(0, number, PUBLISHED):
            ids = [new_event_id() for _ in range(first, min(first + PUBLISHED, number))]
            await self._publisher.publish_many(
                Publication(
                    name="ORDER_SUCCESS",
                    data=encode(event_id=event_id, source="order", event_type="ORDER_SUCCESS", data=data),
                    options='{"attempts":1}',
                    event_id=event_id,
                )
                for event_id in ids
            )

    async def route(self, number: int) -> None:
        queue, order = self._queue("broker"), Order(ROUTED, lock=5)
        jobs = (await queue.take(order)).jobs
        while jobs:
            routed = await queue.route(
                [Routing(job, job.id, event_digest("order", job.id), self._listeners) for job in jobs],
                order,
                layout=self._layout,
                version=self._version,
                window=600,
                keep=KEEP,
            )
            assert set(routed.statuses) == {"routed"}, routed
            jobs = routed.taken.jobs

    async def settle(self, number: int) -> None:
        for service in SERVICES:
            queue, order = self._queue(service), Order(SETTLED, lock=30)
            jobs: Sequence[QueuedJob] = (await queue.take(order)).jobs
            done = len(jobs)
            while jobs:
                settled = await queue.settle([Outcome.completed(job, b"null", keep=KEEP) for job in jobs], order)
                jobs = settled.taken.jobs
                done += len(jobs)
            assert done == number, done

    def _queue(self, name: str) -> Queue:
        return Queue(
            self.connection,
            self._layout.queue(name),
            caller=self._caller,
            events_stream=self._settings.events_stream,
            metrics_minutes=self._settings.metrics_minutes,
        )


@dataclass(frozen=True)
class Spent:
    """What one step took of Redis for each event: µs in scripts, and calls and µs of each command that these called."""

    scripts: float
    commands: Mapping[str, tuple[float, float]]

    @classmethod
    def of(cls, stats: Mapping[str, Mapping[str, float]], events: int) -> Spent:
        found = {name.removeprefix("cmdstat_"): one for name, one in stats.items()}
        scripts = sum(found.pop(name)["usec"] for name in SCRIPTS if name in found) / events
        inner = {name: (one["calls"] / events, one["usec"] / events) for name, one in found.items()}
        return cls(scripts, {name: one for name, one in inner.items() if name not in AROUND})


async def measured(program: str, *, events: int, events_stream: bool) -> dict[str, Spent]:
    """Step by step."""
    spent: dict[str, Spent] = {}
    async with Server(program, append_only=False) as server, redis.asyncio.Redis.from_url(server.url) as client:
        bus = Bus(server.url, events_stream=events_stream)
        await bus.register()
        steps: dict[str, Callable[[int], Awaitable[None]]] = {
            "publish": bus.publish,
            "route": bus.route,
            "take and settle": bus.settle,
        }
        for _ in range(2):  # the first time, nothing is kept yet that has to make room
            for name, step in steps.items():
                await client.config_resetstat()
                await step(events)
                spent[name] = Spent.of(await client.info("commandstats"), events)
        await bus.connection.close()
    return spent


def by_step(runs: Sequence[Mapping[str, Spent]]) -> Sequence[str]:
    least = [min(run[step].scripts for run in runs) for step in runs[0]]
    return [f"{value:.1f}" for value in (*least, sum(least))]


def by_command(run: Mapping[str, Spent]) -> Iterator[tuple[str, ...]]:
    """Of one run; the dearest first."""
    commands: dict[str, list[float]] = {}
    for spent in run.values():
        for name, (calls, microseconds) in spent.commands.items():
            sums = commands.setdefault(name, [0.0, 0.0])
            sums[0] += calls
            sums[1] += microseconds
    every = sum(spent.scripts for spent in run.values())
    for name, (calls, microseconds) in sorted(commands.items(), key=lambda item: -item[1][1]):
        if microseconds >= SMALL:
            yield (name.upper(), f"{calls:.2f}", f"{microseconds:.1f}")
    small = [sums for sums in commands.values() if sums[1] < SMALL]
    yield (f"{len(small)} others", f"{sum(one[0] for one in small):.2f}", f"{sum(one[1] for one in small):.1f}")
    yield ("Lua, arguments, replies", "", f"{every - sum(sums[1] for sums in commands.values()):.1f}")
    yield ("all", f"{sum(sums[0] for sums in commands.values()):.2f}", f"{every:.1f}")


async def main() -> None:
    wanted = parser(__doc__)
    wanted.add_argument("--events", type=int, default=5_000)
    wanted.add_argument("--runs", type=int, default=5)
    told = asked(wanted)
    console = headed(machine(told.server))
    runs = {
        way: [await measured(told.server, events=told.events, events_stream=way == "on") for _ in range(told.runs)]
        for way in ("on", "off")
    }
    lines = [(f"events stream {way}", *by_step(found)) for way, found in runs.items()]
    show(console, "Redis µs an event, three services", ("", "publish", "route", "take and settle", "all"), lines)
    fastest = min(runs["on"], key=lambda run: sum(spent.scripts for spent in run.values()))
    show(console, "What scripts spend it on, with the events stream", ("", "calls", "µs"), by_command(fastest))


if __name__ == "__main__":
    asyncio.run(main())
