"""What sending alone costs: how many events a second one process sends that does nothing else, beside stock BullMQ.

    make bench-sending                                  # two minutes
    make bench-sending ARGS="--events 5000 --runs 1"

One sender and a server of its own for each run; nobody takes what it sends. Live, 50 tasks each send one 400-byte event
after the other: `await messenger.send(event)` here, `await queue.add(…)` in Node. At once, 200 events go into a call:
`send_many` and `addBulk`. Runs are interleaved; the table has medians, with the least and the most. Times are per send:
of Redis, and of the process with its start of sending.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from bench.buses import NODE_PACKAGES, NODES, OURS
from bench.contest import Contestant, Figures, Load, least_to_most, median, timed_afresh
from bench.options import asked, parser
from bench.process import run_to_end
from bench.server import machine
from bench.steps import Steps
from bench.tables import headed, show

COLUMNS = ("", "sends/s", "least–most", "ours ×", "Redis µs", "CPU µs")
SENDERS = (replace(OURS, has_router=False), replace(NODES[0], name="BullMQ, Node", has_router=False))


def lines(results: dict[tuple[Contestant, Load], list[Figures]]) -> Iterator[tuple[str, ...]]:
    for (sender, load), figures in results.items():
        middle, ours = median(figures), median(results[SENDERS[0], load])
        yield (
            f"{sender.name}, {'live' if load.live else 'at once'}",
            f"{middle.rate:,.0f}",
            least_to_most(figures),
            f"{ours.rate / middle.rate:.1f}",
            f"{middle.server_cpu:.1f}",
            f"{middle.cpu:.0f}",
        )


async def main() -> None:
    wanted = parser(__doc__)
    wanted.add_argument("--events", type=int, default=40_000)
    wanted.add_argument("--runs", type=int, default=5)
    told = asked(wanted)
    console = headed(machine(told.server, packages=NODE_PACKAGES))
    loads = [Load(told.events, services=(), live=live) for live in (True, False)]
    turns = {(sender, load): sender.name for load in loads for sender in SENDERS}
    with Steps(console, total=told.runs * len(turns)) as steps:
        results = await steps.interleaved(turns, partial(timed_afresh, told.server), runs=told.runs)
    show(console, f"{told.events:,} sends of a 400-byte event by one process", COLUMNS, lines(results))


if __name__ == "__main__":
    run_to_end(main())
