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
import json
import resource
import shutil
import statistics
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bench.process import processor_seconds
from bench.server import Server, machine
from hippo_messenger.settings import Settings

HERE = Path(__file__).parent
SERVICES = ("account", "shipping", "notification")
DATA = {
    "orderId": "O-000123",
    "total": "61.30",
    "currency": "USD",
    "accountId": "C-00042",
    "email": "c-00042@example.com",
    "items": [{"sku": "HIP-001", "name": "Hippo mug", "quantity": 2, "unitPrice": "14.50"}],
    "shippingAddress": {"line1": "12 Main St", "city": "Portland", "region": "OR", "country": "US"},
}


@dataclass(frozen=True)
class Contestant:
    name: str
    program: tuple[str, ...]
    concurrency: int
    share: float = 1.0
    """Of the events: the slow ones get fewer, and are judged by their rate all the same."""


@dataclass(frozen=True)
class Figures:
    rate: float
    redis_time: float
    cpu: float
    p50: float
    p99: float


COLUMNS = ("", "events/s", "ours ×", "Redis µs", "CPU µs", "p50 ms", "p99 ms")
NODE = ("node", str(HERE / "node" / "part.mjs"))
CONTESTANTS = (
    Contestant("ours", (sys.executable, str(HERE / "hippo_part.py")), 200),
    Contestant("BullMQ, Node ×50", NODE, 50),
    Contestant("BullMQ, Node ×200", NODE, 200),
    Contestant("BullMQ, Python ×50", (sys.executable, str(HERE / "stock_python_part.py")), 50, 0.1),
)


async def timed(contestant: Contestant, server: Server, *, events: int, rate: float) -> Figures:
    """One run, from the first send to the last acknowledgement."""
    prefix = Settings().prefix  # the usual one: each run has a server of its own
    async with AsyncExitStack() as stack:
        parts: dict[str, Process] = {}
        for role in ("router", *SERVICES, "sender"):
            name = (role,) if role in SERVICES else ()
            kind = "service" if name else role
            words = (kind, server.url, prefix, str(contestant.concurrency), str(events), str(rate), *name)
            part = await asyncio.create_subprocess_exec(
                *contestant.program, *words, stdin=PIPE, stdout=PIPE, limit=2**26
            )
            stack.push_async_callback(ended, part)
            parts[role] = part
            await said(part, "ready")
        cpu_before, redis_before = children_cpu(parts.values()), await server.cpu()
        start = time.monotonic()
        sender = parts["sender"]
        assert sender.stdin is not None
        sender.stdin.write(json.dumps({"data": DATA}).encode() + b"\n")
        await sender.stdin.drain()
        reports = await asyncio.gather(*(said(parts[service], "done") for service in SERVICES))
        seconds = time.monotonic() - start
        await said(sender, "done")
        cpu, redis_cpu = children_cpu(parts.values()) - cpu_before, await server.cpu() - redis_before
    latencies = sorted(latency for report in reports for latency in report["latencies"])
    return Figures(
        rate=events / seconds,
        redis_time=redis_cpu / events * 1e6,
        cpu=cpu / events * 1e6,
        p50=latencies[len(latencies) // 2],
        p99=latencies[len(latencies) * 99 // 100],
    )


async def said(part: Process, word: str) -> dict[str, Any]:
    assert part.stdout is not None
    async with asyncio.timeout(600):
        while line := await part.stdout.readline():
            what: dict[str, Any] = json.loads(line)
            if word in what:
                return what
    raise SystemExit("a part ended before its time; run it by hand to see why")


async def ended(part: Process) -> None:
    if part.returncode is None:
        part.terminate()
        try:
            await asyncio.wait_for(part.wait(), 10)
        except TimeoutError:
            part.kill()
            await part.wait()


def children_cpu(parts: Any) -> float:
    """Seconds that these processes have used so far, as Linux tells it; 0 where it doesn't."""
    return sum(processor_seconds(part.pid) for part in parts)


def median(figures: Sequence[Figures]) -> Figures:
    names = Figures.__dataclass_fields__
    return Figures(**{name: statistics.median(getattr(one, name) for one in figures) for name in names})


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
                f"{middle.redis_time:.0f}",
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
