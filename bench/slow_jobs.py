"""What a slow job does to the others: one processor in a hundred sleeps for a second, at 1,000 events a second.

    make bench-slow-jobs                                # two minutes
    make bench-slow-jobs ARGS="--events 3000 --runs 1"

As `make bench`, but one service whose worker has 200 slots, of which ten are asleep at any time. The latencies are from
send to processor, and only those of events whose processor does not sleep; beside them those of runs in which none
does. Events are sent at their rate whether or not earlier ones have arrived. Stock BullMQ in Node runs at the same
concurrency. Runs are interleaved; the table has medians of the runs' percentiles.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict

from rich.console import Console
from rich.progress import Progress

from bench.buses import BUSES, NODE_PACKAGES, OURS, chosen
from bench.contest import ALL_SERVICES, Contestant, Figures, Load, median, timed
from bench.options import asked, parser, show
from bench.server import Server, machine

COLUMNS = ("", "asleep", "p50 ms", "p99 ms", "p99.9 ms", "Redis µs", "CPU µs")


def lines(results: dict[tuple[Contestant, int], list[Figures]]) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for (bus, slow_every), figures in results.items():
        middle = median(figures)
        found.append(
            (
                bus.name,
                f"1 in {slow_every}" if slow_every else "none",
                *(f"{latency:.1f}" for latency in (middle.p50, middle.p99, middle.p999)),
                f"{middle.server_cpu:.0f}",
                f"{middle.cpu:.0f}",
            )
        )
    return found


async def main() -> None:
    wanted = parser(__doc__)
    wanted.add_argument("--events", type=int, default=10_000)
    wanted.add_argument("--runs", type=int, default=3)
    wanted.add_argument("--rate", type=int, default=1000, help="events a second")
    wanted.add_argument("--every", type=int, default=100, help="one event in so many sleeps")
    wanted.add_argument("--only", type=chosen, default=(OURS, BUSES["node-200"]), help=", ".join(BUSES))
    told = asked(wanted)
    console = Console()
    console.print(machine(told.server, packages=NODE_PACKAGES), highlight=False, soft_wrap=True)
    turns = [(bus, slow_every) for bus in told.only for slow_every in (0, told.every)]
    results: dict[tuple[Contestant, int], list[Figures]] = defaultdict(list)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("", total=told.runs * len(turns))
        for _ in range(told.runs):
            for bus, slow_every in turns:
                progress.update(task, description=f"{bus.name}, {'some sleep' if slow_every else 'none sleeps'}")
                load = Load(told.events, rate=told.rate, services=ALL_SERVICES[1:2], slow_every=slow_every)
                async with Server(told.server, append_only=False) as server:
                    results[bus, slow_every].append(await timed(bus, server, load))
                progress.advance(task)
    title = f"Latencies of the jobs that don't sleep; one service, {told.rate:,} events a second"
    show(console, title, COLUMNS, lines(results))


if __name__ == "__main__":
    asyncio.run(main())
