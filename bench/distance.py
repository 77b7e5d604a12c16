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

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import redis.asyncio

from bench.buses import BUSES, NODE_PACKAGES, NODES, OURS
from bench.contest import Contestant, Figures, Load, least_to_most, median, timed
from bench.delay import at_a_distance
from bench.options import asked, parser, some_of
from bench.process import run_to_end
from bench.server import Server, machine
from bench.steps import Steps
from bench.tables import headed, show

COLUMNS = ("", "away ms", "PING ms", "events/s", "least–most", "of 0 ms", "ours ×", "proxy %")


@dataclass(frozen=True)
class Run:
    """What one run has shown, and how far away its server was."""

    figures: Figures
    ping: float
    """Milliseconds."""
    proxy: float
    """How busy it was, of one core."""


async def run(program: str, events: int, bus: Contestant, milliseconds: float) -> Run:
    load = Load(int(events * bus.share))
    async with (
        Server(program, append_only=False) as server,
        at_a_distance(server, seconds=milliseconds / 2 / 1000) as distant,
    ):
        ping = await round_trip(distant.url)
        spent = distant.proxy_seconds()
        figures = await timed(bus, distant, load)
        seconds = load.events / figures.rate
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


def lines(results: dict[tuple[Contestant, float], list[Run]]) -> Iterator[tuple[str, ...]]:
    rates = {at: median([one.figures for one in runs]).rate for at, runs in results.items()}
    for (bus, away), runs in results.items():
        rate, ours = rates[bus, away], rates.get((OURS, away))
        yield (
            bus.name,
            f"{away:g}",
            f"{statistics.median(one.ping for one in runs):.2f}",
            f"{rate:,.0f}",
            least_to_most([one.figures for one in runs]),
            f"{rate / rates[bus, 0]:.2f}",
            f"{ours / rate:.1f}" if ours else "–",
            f"{100 * statistics.median(one.proxy for one in runs):.0f}",
        )


async def main() -> None:
    wanted = parser(__doc__)
    wanted.add_argument("--events", type=int, default=20_000)
    wanted.add_argument("--runs", type=int, default=3)
    wanted.add_argument("--milliseconds", type=float, default=1.0, help="of a round trip")
    wanted.add_argument("--only", type=some_of(BUSES), default=(OURS, *NODES), help=", ".join(BUSES))
    told = asked(wanted)
    console = headed(machine(told.server, packages=NODE_PACKAGES))
    turns = {(bus, away): f"{bus.name}, {away:g} ms away" for bus in told.only for away in (0.0, told.milliseconds)}
    with Steps(console, total=told.runs * len(turns)) as steps:
        results = await steps.interleaved(turns, partial(run, told.server, told.events), runs=told.runs)
    show(console, "One 400-byte event to three services, Redis behind a proxy", COLUMNS, lines(results))


if __name__ == "__main__":
    run_to_end(main())
