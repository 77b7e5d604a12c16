"""What a network costs: events a second with Redis a millisecond away, beside those with Redis next to it.

    make bench-distance                                 # three minutes
    make bench-distance ARGS="--events 3000 --runs 1"
    make bench-distance ARGS="--milliseconds 5 --only ours,node-50"

As `make bench`, one 400-byte event to three services without persistence, but every process reaches Redis through a TCP
proxy of that run. It keeps each piece for half of the round trip on its way to Redis and for half on its way back,
however many are on their way; with 0 ms it is the same proxy and keeps nothing. `PING ms` is what a round trip through
it really takes, the median of 50 before the run: some tenths more than the proxy is told to. `proxy %` is how busy the
proxy was, of one core: near 100 it would be the bottleneck. Runs are interleaved; the table has medians.
"""

from __future__ import annotations

import asyncio
import resource
import statistics
import time
from collections import defaultdict
from dataclasses import dataclass

import redis.asyncio
from rich.console import Console
from rich.progress import Progress

from bench.buses import BUSES, NODE_PACKAGES, NODES, OURS, chosen
from bench.contest import Contestant, Figures, Load, median, spread, timed
from bench.delay import at_a_distance
from bench.options import asked, parser, show
from bench.server import Server, machine

COLUMNS = ("", "away ms", "PING ms", "events/s", "least–most", "of 0 ms", "ours ×", "proxy %")


@dataclass(frozen=True)
class Run:
    """What one run has shown, and how far away its server was."""

    figures: Figures
    ping: float
    """Milliseconds."""
    proxy: float
    """How busy it was, of one core."""


async def run(program: str, bus: Contestant, *, milliseconds: float, events: int) -> Run:
    async with (
        Server(program, append_only=False) as server,
        at_a_distance(server, seconds=milliseconds / 2 / 1000) as distant,
    ):
        ping = await round_trip(distant.url)
        spent = distant.proxy_seconds()
        figures = await timed(bus, distant, Load(events))
        seconds = events / figures.rate
        return Run(figures, ping, (distant.proxy_seconds() - spent) / seconds)


async def round_trip(url: str) -> float:
    """How long a PING takes, in ms."""
    times = []
    async with redis.asyncio.Redis.from_url(url) as client:
        await client.ping()
        for _ in range(50):
            began = time.perf_counter()
            await client.ping()
            times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


def lines(results: dict[tuple[Contestant, float], list[Run]]) -> list[tuple[str, ...]]:
    rates = {at: median([one.figures for one in runs]).rate for at, runs in results.items()}
    found: list[tuple[str, ...]] = []
    for (bus, away), runs in results.items():
        rate, ours = rates[bus, away], rates.get((OURS, away))
        figures = [one.figures for one in runs]
        found.append(
            (
                bus.name,
                f"{away:g}",
                f"{statistics.median(one.ping for one in runs):.2f}",
                f"{rate:,.0f}",
                "–".join(f"{each:,.0f}" for each in spread(figures)),
                f"{rate / rates[bus, 0]:.2f}",
                f"{ours / rate:.1f}" if ours else "–",
                f"{100 * statistics.median(one.proxy for one in runs):.0f}",
            )
        )
    return found


async def main() -> None:
    wanted = parser(__doc__)
    wanted.add_argument("--events", type=int, default=20_000)
    wanted.add_argument("--runs", type=int, default=3)
    wanted.add_argument("--milliseconds", type=float, default=1.0, help="of a round trip")
    wanted.add_argument("--only", type=chosen, default=(OURS, *NODES), help=", ".join(BUSES))
    told = asked(wanted)
    console = Console()
    console.print(machine(told.server, packages=NODE_PACKAGES), highlight=False, soft_wrap=True)
    turns = [(bus, away) for bus in told.only for away in (0.0, told.milliseconds)]
    results: dict[tuple[Contestant, float], list[Run]] = defaultdict(list)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("", total=told.runs * len(turns))
        for _ in range(told.runs):
            for bus, away in turns:
                progress.update(task, description=f"{bus.name}, {away:g} ms away")
                events = int(told.events * bus.share)
                results[bus, away].append(await run(told.server, bus, milliseconds=away, events=events))
                progress.advance(task)
    show(console, "One 400-byte event to three services, Redis behind a proxy", COLUMNS, lines(results))


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    asyncio.run(main())
