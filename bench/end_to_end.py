"""One event to three services, validated, processed and acknowledged: this package beside stock BullMQ, side by side.

    make bench                                          # all of it, some minutes
    make bench ARGS="--events 5000 --runs 1"

Every contestant is the same five processes: one sender, one router (broker), three services with one worker each. All
validate on arrival, name jobs by a UUID, keep the same completed jobs (1 hour or 1,000) and run on a server of their
own that is started anew for each run, under the usual prefix. Runs are interleaved; the table has medians. CPU and
Redis time are per event, CPU that of the five processes; latencies are from send to processor, at 100 events a second.
Stock BullMQ's names end in its concurrency.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import shutil
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench.contest import Contestant, Figures, median, timed
from bench.server import Server, machine

HERE = Path(__file__).parent
COLUMNS = ("", "events/s", "ours ×", "Redis µs", "CPU µs", "p50 ms", "p99 ms")
NODE = ("node", str(HERE / "node" / "part.mjs"))
CONTESTANTS = (
    Contestant("ours", (sys.executable, str(HERE / "hippo_part.py")), 200),
    Contestant("BullMQ, Node ×50", NODE, 50),
    Contestant("BullMQ, Node ×200", NODE, 200),
    Contestant("BullMQ, Python ×50", (sys.executable, str(HERE / "stock_python_part.py")), 50, 0.1),
)


def rows(results: dict[str, list[Figures]], quiet: dict[str, list[Figures]]) -> list[tuple[str, ...]]:
    ours = median(results[CONTESTANTS[0].name]).rate
    found: list[tuple[str, ...]] = []
    for name, figures in results.items():
        middle, calm = median(figures), median(quiet[name]) if quiet[name] else None
        found.append(
            (
                name,
                f"{middle.rate:,.0f}",
                f"{ours / middle.rate:.1f}",
                f"{middle.server_cpu:.0f}",
                f"{middle.cpu:.0f}",
                f"{calm.p50:.1f}" if calm else "–",
                f"{calm.p99:.1f}" if calm else "–",
            )
        )
    return found


def show(console: Console, title: str, lines: Sequence[Sequence[str]]) -> None:
    """A table in a terminal; elsewhere aligned lines, each whole."""
    if not console.is_terminal:
        print(title)
        for first, *others in (COLUMNS, *lines):
            print(f"{first:<20}" + "".join(f"{cell:>10}" for cell in others))
        print(flush=True)
        return
    table = Table(
        title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False, show_edge=False
    )
    for number, name in enumerate(COLUMNS):
        table.add_column(name, justify="right" if number else "left", no_wrap=True)
    for line in lines:
        table.add_row(*line)
    console.print(table)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--latency-seconds", type=int, default=10, help="0 leaves the latencies out")
    parser.add_argument("--persistence", choices=("off", "on", "both"), default="both")
    parser.add_argument("--server", default=shutil.which("redis-server") or shutil.which("valkey-server"))
    asked = parser.parse_args()
    if not asked.server:
        raise SystemExit("no redis-server on PATH; name one with --server")
    modes = {"off": (False,), "on": (True,), "both": (False, True)}[asked.persistence]
    console = Console()
    console.print(machine(asked.server, packages=HERE / "node"), highlight=False, soft_wrap=True)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("", total=len(modes) * len(CONTESTANTS) * (asked.runs + (asked.latency_seconds > 0)))
        for append_only in modes:
            results: dict[str, list[Figures]] = defaultdict(list)
            quiet: dict[str, list[Figures]] = defaultdict(list)
            for run in range(asked.runs + 1):
                for contestant in CONTESTANTS:
                    progress.update(task, description=contestant.name)
                    is_quiet = run == asked.runs
                    if is_quiet and not asked.latency_seconds:
                        continue
                    events = 100 * asked.latency_seconds if is_quiet else int(asked.events * contestant.share)
                    async with Server(asked.server, append_only=append_only) as server:
                        figures = await timed(contestant, server, events=events, rate=100 if is_quiet else 0)
                    (quiet if is_quiet else results)[contestant.name].append(figures)
                    progress.advance(task)
            persistence = "append-only file, every second" if append_only else "no persistence"
            show(console, f"One 400-byte event to three services; {persistence}", rows(results, quiet))


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    asyncio.run(main())
