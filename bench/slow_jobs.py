"""What a slow job does to the others: one processor in a hundred sleeps for a second, at 1,000 events a second.

    make bench-slow-jobs                                # two minutes
    make bench-slow-jobs ARGS="--events 3000 --runs 1"

As `make bench`, but one service whose worker has 200 slots, of which ten are asleep at any time. The latencies are from
send to processor, and only those of events whose processor does not sleep; beside them those of runs in which none
does. Events are sent at their rate whether or not earlier ones have arrived. Stock BullMQ in Node runs at the same
concurrency. Runs are interleaved; the table has medians of the runs' percentiles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from bench.buses import BUSES, NODE_PACKAGES, OURS
from bench.contest import ALL_SERVICES, Contestant, Figures, Load, median, timed_afresh
from bench.options import asked, parser, some_of
from bench.process import run_to_end
from bench.server import machine
from bench.steps import Steps
from bench.tables import headed, show

COLUMNS = ("", "asleep", "p50 ms", "p99 ms", "p99.9 ms", "Redis µs", "CPU µs")


def lines(results: dict[tuple[Contestant, Load], list[Figures]]) -> Iterator[tuple[str, ...]]:
    for (bus, load), figures in results.items():
        middle = median(figures)
        yield (
            bus.name,
            f"1 in {load.slow_every}" if load.slow_every else "none",
            *(f"{latency:.1f}" for latency in (middle.p50, middle.p99, middle.p999)),
            f"{middle.server_cpu:.0f}",
            f"{middle.cpu:.0f}",
        )


async def main() -> None:
    wanted = parser(__doc__)
    wanted.add_argument("--events", type=int, default=10_000)
    wanted.add_argument("--runs", type=int, default=3)
    wanted.add_argument("--rate", type=int, default=1000, help="events a second")
    wanted.add_argument("--every", type=int, default=100, help="one event in so many sleeps")
    wanted.add_argument("--only", type=some_of(BUSES), default=(OURS, BUSES["node-200"]), help=", ".join(BUSES))
    told = asked(wanted)
    console = headed(machine(told.server, packages=NODE_PACKAGES))
    load = Load(told.events, rate=told.rate, services=ALL_SERVICES[1:2])
    sleepers = {load: "none sleeps", replace(load, slow_every=told.every): "some sleep"}
    turns = {(bus, load): f"{bus.name}, {who}" for bus in told.only for load, who in sleepers.items()}
    with Steps(console, total=told.runs * len(turns)) as steps:
        results = await steps.interleaved(turns, partial(timed_afresh, told.server), runs=told.runs)
    title = f"Latencies of the jobs that don't sleep; one service, {told.rate:,} events a second"
    show(console, title, COLUMNS, lines(results))


if __name__ == "__main__":
    run_to_end(main())
