"""One run of a contestant: its processes are started, an event after the other is sent, and its figures are taken.

A contestant is a program that is one part of a bus, by its arguments: role, url, prefix, concurrency, how many events
each lap has, services and, for a service, its name. It says what it has to say in lines of JSON: `{"ready": true}`, and
when all events of a lap are sent or acknowledged, `{"done": …}`, a service with its `latencies`. Before each lap a
sender reads a line: the data of the event, at which rate, how many tasks send one event after the other (`live`; 0
sends many at once), and which events make their processor sleep.

The first lap warms up, and nothing of it is counted: what is compiled while it runs, Node above all, is slower until
then.
"""

from __future__ import annotations

import asyncio
import json
import math
import statistics
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from bench.process import most_megabytes, tree_seconds
from bench.server import Server
from hippo_messenger.settings import Settings

__all__ = [
    "ALL_SERVICES",
    "SIZE",
    "ContestServer",
    "Contestant",
    "Figures",
    "Load",
    "Onlooker",
    "PartEndedError",
    "event_data",
    "least_to_most",
    "median",
    "process_memory",
    "summary",
    "timed",
    "timed_afresh",
]

ROOT = Path(__file__).parent.parent
ALL_SERVICES = (
    "account",
    "shipping",
    "notification",
    "billing",
    "inventory",
    "subscription",
    "analytics",
    "loyalty",
    "reviews",
    "support",
)
DATA = {
    "orderId": "O-000123",
    "total": "61.30",
    "currency": "USD",
    "accountId": "C-00042",
    "email": "c-00042@example.com",
    "items": [{"sku": "HIP-001", "name": "Hippo mug", "quantity": 2, "unitPrice": "14.50"}],
    "shippingAddress": {"line1": "12 Main St", "city": "Portland", "region": "OR", "country": "US"},
}


SIZE = 400
"""What the event without a filler is called: its data has 300 bytes, and with its envelope it is 490."""
LIVE_TASKS = 50
SLOW_MS = 1000
ENVELOPE = 200
"""About so many bytes."""
WARM_UP = 4000
"""Events, as many at once; who gets fewer events gets fewer of these too."""


class ContestServer(Protocol):
    """What carries the events."""

    @property
    def url(self) -> str:
        """How to reach it."""
        ...

    async def cpu(self) -> float:
        """Seconds so far."""
        ...

    def memory(self) -> float:
        """The most (MB) that it has had so far."""
        ...


class PartEndedError(Exception):
    """A part of a contestant ended before its time, or said nothing for too long."""


@dataclass(frozen=True)
class Contestant:
    name: str
    program: tuple[str, ...]
    concurrency: int
    share: float = 1.0
    """Of the events: the slow ones get fewer, and are judged by their rate all the same."""
    has_router: bool = True
    """Whether a process of its own stands between sender and services."""


@dataclass(frozen=True)
class Load:
    """What is sent in a run."""

    events: int
    rate: float = 0
    """Events a second; 0 is as fast as it goes."""
    size: int = SIZE
    """Bytes of an event."""
    services: Sequence[str] = ALL_SERVICES[:3]
    live: bool = False
    """Tasks send one event after the other, rather than many at once."""
    slow_every: int = 0
    """One event in so many makes its processor sleep for a second, and is none of the latencies; 0 none."""

    @property
    def line(self) -> bytes:
        """What the sender reads."""
        told = {"live": LIVE_TASKS if self.live else 0, "slowEvery": self.slow_every, "slowMs": SLOW_MS}
        return json.dumps({"data": event_data(self.size), "rate": self.rate, **told}).encode() + b"\n"

    def warm_up(self, contestant: Contestant) -> Load:
        """What goes before it."""
        return Load(int(WARM_UP * contestant.share), services=self.services)


@dataclass(frozen=True)
class Figures:
    """Of one run: CPU is µs an event, the latencies are ms, and nan where nothing was processed.

    Memory is the most (MB) that a process has had: the server, the sender, the router (nan where there is none), and
    the largest of the services.
    """

    rate: float
    server_cpu: float
    cpu: float
    p50: float
    p99: float
    p999: float
    server_mb: float
    sender_mb: float
    router_mb: float
    service_mb: float


Onlooker = Callable[[Mapping[str, int]], AbstractAsyncContextManager[object]]
"""Looks on from the first send to the last acknowledgement; it is told the process of each role."""


async def timed_afresh(program: str, contestant: Contestant, load: Load, *, append_only: bool = False) -> Figures:
    """One run on a Redis of its own."""
    async with Server(program, append_only=append_only) as server:
        return await timed(contestant, server, load)


async def timed(
    contestant: Contestant,
    server: ContestServer,
    load: Load,
    *,
    limit: float = 600,
    errors: IO[bytes] | None = None,
    onlooker: Onlooker = lambda _: nullcontext(),
) -> Figures:
    """One run, from the first send after the warm-up to the last acknowledgement; `limit` is seconds for each lap.

    Raises:
        PartEndedError: A part ended before its time, or the run took too long.
    """
    prefix = Settings().prefix  # the usual one: each run has a server of its own
    services, events, warm_up = load.services, load.events, load.warm_up(contestant)
    numbers = (str(contestant.concurrency), f"{warm_up.events},{events}", ",".join(services))
    async with AsyncExitStack() as stack:
        parts: dict[str, Process] = {}
        for role in (*(["router"] if contestant.has_router else []), *services, "sender"):
            kind, name = ("service", (role,)) if role in services else (role, ())
            words = (*contestant.program, kind, server.url, prefix, *numbers, *name)
            part = await asyncio.create_subprocess_exec(
                *words, stdin=PIPE, stdout=PIPE, stderr=errors, limit=2**26, cwd=ROOT
            )
            stack.push_async_callback(ended, part)
            parts[role] = part
            await said(part, "ready", limit=60)

        async def run(lap: Load) -> Sequence[Mapping[str, Any]]:
            sender = parts["sender"]
            assert sender.stdin is not None
            sender.stdin.write(lap.line)
            await sender.stdin.drain()
            _, *reports = await asyncio.gather(
                *(said(parts[role], "done", limit=limit) for role in ("sender", *services))
            )
            return reports

        await run(warm_up)
        cpu_before, server_before = all_seconds(parts.values()), await server.cpu()
        async with onlooker({role: part.pid for role, part in parts.items()}):
            start = time.monotonic()
            reports = await run(load)
            seconds = time.monotonic() - start
        cpu, server_cpu = all_seconds(parts.values()) - cpu_before, await server.cpu() - server_before
        memory = {role: most_megabytes(part.pid) for role, part in parts.items()}
        server_mb = server.memory()
    latencies = sorted(latency for report in reports for latency in report["latencies"])
    return Figures(
        rate=events / seconds,
        server_cpu=server_cpu / events * 1e6,
        cpu=cpu / events * 1e6,
        p50=percentile(latencies, 0.5),
        p99=percentile(latencies, 0.99),
        p999=percentile(latencies, 0.999),
        server_mb=server_mb,
        sender_mb=memory["sender"],
        router_mb=memory.get("router", math.nan),
        service_mb=max((memory[role] for role in services), default=math.nan),
    )


def event_data(size: int) -> dict[str, Any]:
    """The data of an event of about so many bytes with its envelope, or of the usual one."""
    filler = size - len(json.dumps(DATA)) - ENVELOPE
    return DATA | {"note": "x" * filler} if size > SIZE and filler > 0 else DATA


def percentile(ordered: Sequence[float], part: float) -> float:
    return ordered[int(len(ordered) * part)] if ordered else math.nan


async def said(part: Process, word: str, *, limit: float) -> dict[str, Any]:
    assert part.stdout is not None
    try:
        async with asyncio.timeout(limit):
            while line := await part.stdout.readline():
                what: dict[str, Any] = json.loads(line)
                if word in what:
                    return what
    except TimeoutError:
        raise PartEndedError(f"a part did not say {word!r} within {limit:.0f} s") from None
    raise PartEndedError("a part ended before its time; run it by hand to see why")


async def ended(part: Process) -> None:
    if part.returncode is None:
        part.terminate()
        try:
            await asyncio.wait_for(part.wait(), 10)
        except TimeoutError:
            part.kill()
            await part.wait()


def all_seconds(parts: Iterable[Process]) -> float:
    """Of processor time that these processes and their children have used so far; 0 where nobody tells it."""
    return sum(tree_seconds(part.pid) for part in parts)


def median(figures: Sequence[Figures]) -> Figures:
    names = Figures.__dataclass_fields__
    return Figures(**{name: statistics.median(getattr(one, name) for one in figures) for name in names})


def process_memory(figures: Figures) -> str:
    """MB of sender, router and service, in words."""
    each = (figures.sender_mb, figures.router_mb, figures.service_mb)
    return " ".join("–" if math.isnan(megabytes) else f"{megabytes:,.0f}" for megabytes in each)


def least_to_most(figures: Sequence[Figures]) -> str:
    """Events a second, in words."""
    return "–".join(f"{rate:,.0f}" for rate in spread(figures))


def summary(figures: Sequence[Figures]) -> dict[str, float]:
    """The medians, and the least and the most events a second."""
    least, most = spread(figures)
    return {**asdict(median(figures)), "least": least, "most": most}


def spread(figures: Sequence[Figures]) -> tuple[float, float]:
    rates = [one.rate for one in figures]
    return min(rates), max(rates)
