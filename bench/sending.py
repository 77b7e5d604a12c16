"""What sending alone costs: how many events a second one process sends that does nothing else, beside stock BullMQ.

    make bench-sending                                  # two minutes
    make bench-sending ARGS="--events 5000 --runs 1"

One sender and a server of its own for each run; nobody takes what it sends. Live, 50 tasks each send one 400-byte event
after the other: `await messenger.send(event)` here, `await queue.add(…)` in Node. At once, 200 events go into a call:
`send_many` and `addBulk`. Runs are interleaved; the table has medians, with the least and the most. Times are per send:
of Redis, and of the process with its start of sending.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import replace

from rich.console import Console
from rich.progress import Progress

from bench.buses import NODE_PACKAGES, NODES, OURS
from bench.contest import Contestant, Figures, Load, median, spread, timed
from bench.options import asked, parser, show
from bench.server import Server, machine

COLUMNS = ("", "sends/s", "least–most", "ours ×", "Redis µs", "CPU µs")
SENDERS = (replace(OURS, has_router=False), replace(NODES[0], name="BullMQ, Node", has_router=False))


def lines(results: dict[tuple[Contestant, bool], list[Figures]]) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for (sender, live), figures in results.items():
        middle, ours = median(figures), median(results[SENDERS[0], live])
        found.append(
            (
                f"{sender.name}, {'live' if live else 'at once'}",
                f"{middle.rate:,.0f}",
                "–".join(f"{rate:,.0f}" for rate in spread(figures)),
                f"{ours.rate / middle.rate:.1f}",
                f"{middle.server_cpu:.1f}",
                f"{middle.cpu:.0f}",
            )
        )
    return found


async def main() -> None:
    wanted = parser(__doc__)
    wanted.add_argument("--events", type=int, default=40_000)
    wanted.add_argument("--runs", type=int, default=5)
    told = asked(wanted)
    console = Console()
    console.print(machine(told.server, packages=NODE_PACKAGES), highlight=False, soft_wrap=True)
    turns = [(sender, live) for live in (True, False) for sender in SENDERS]
    results: dict[tuple[Contestant, bool], list[Figures]] = defaultdict(list)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("", total=told.runs * len(turns))
        for _ in range(told.runs):
            for sender, live in turns:
                progress.update(task, description=sender.name)
                async with Server(told.server, append_only=False) as server:
                    load = Load(told.events, services=(), live=live)
                    results[sender, live].append(await timed(sender, server, load))
                progress.advance(task)
    show(console, f"{told.events:,} sends of a 400-byte event by one process", COLUMNS, lines(results))


if __name__ == "__main__":
    asyncio.run(main())
