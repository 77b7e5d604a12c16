"""This package beside what people would pick instead, at the same guarantee: a durable queue for each service,
acknowledged after processing.

    make bench-peers                                        # three services; about ten minutes
    make bench-peers ARGS="--events 1000 --runs 1 --latency-seconds 0"
    make bench-peers ARGS="--services 1,3,10 --json peers.json"     # for python -m bench.picture

Each contender sends the same 400-byte event to every service; sender and services validate it with pydantic (BullMQ:
with zod), and every service is one worker process. How each is wired, and why so, stands in its file of bench/peers.
Each run has a server of its own, over TCP on the loopback. Runs are interleaved; the table has medians with the least
and the most. CPU is µs an event: that of the server, and that of all other processes. Latencies are from send to
processor, at 100 events a second, or as many as its sender can send. Slow contenders get fewer events.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.progress import Progress

from bench.contest import ALL_SERVICES, ROOT, Figures, Load, timed
from bench.options import service_counts
from bench.peers.contenders import CONTENDERS, Contender, Machine
from bench.peers.report import Outcome, show, write
from bench.peers.servers import rabbit_version
from bench.server import machine as machine_line

HERE = Path(__file__).parent
LIMIT = 300
"""Seconds that a run may take."""


@dataclass(frozen=True)
class Plan:
    """What is asked of everyone."""

    contenders: Sequence[Contender]
    machine: Machine
    events: int
    runs: int
    latency_seconds: int

    @property
    def turns(self) -> int:
        """How often each runs: the last turn is for the latencies."""
        return self.runs + (self.latency_seconds > 0)

    def events_of(self, contender: Contender) -> int:
        return max(int(self.events * contender.contestant.share), min(self.events, 500))


class ContenderError(Exception):
    """One contender could not go on."""


async def contest(plan: Plan, services: Sequence[str], progressed: Callable[[str], None]) -> list[Outcome]:
    """Everyone in turn with these services; who fails once is not tried again."""
    runs: dict[str, list[Figures]] = {contender.key: [] for contender in plan.contenders}
    calm: dict[str, Figures] = {}
    trouble = {one.key: why for one in plan.contenders if (why := plan.machine.missing(one))}
    for turn in range(plan.turns):
        for contender in plan.contenders:
            progressed(f"{contender.name} → {len(services)}")
            if contender.key in trouble:
                continue
            try:
                if turn < plan.runs:
                    runs[contender.key].append(
                        await run(plan.machine, contender, services, events=plan.events_of(contender), rate=0)
                    )
                else:
                    events = 100 * plan.latency_seconds
                    calm[contender.key] = await run(plan.machine, contender, services, events=events, rate=100)
            except ContenderError as error:
                trouble[contender.key] = str(error)
    return [
        Outcome(
            contender=contender,
            services=len(services),
            events=plan.events_of(contender),
            durability=plan.machine.durability(contender),
            runs=runs[contender.key],
            calm=calm.get(contender.key),
            trouble=trouble.get(contender.key),
        )
        for contender in plan.contenders
    ]


async def run(machine: Machine, contender: Contender, services: Sequence[str], *, events: int, rate: float) -> Figures:
    """One run on a new server.

    Raises:
        ContenderError: It didn't come to its end.
    """
    with tempfile.TemporaryFile() as errors:
        try:
            async with machine.server(contender) as server:
                return await timed(
                    contender.contestant,
                    server,
                    Load(events=events, rate=rate, services=services),
                    limit=LIMIT,
                    errors=errors,
                )
        except Exception as error:  # whatever it is, the others go on
            raise ContenderError(f"{str(error) or type(error).__name__}; {complaint(errors)}") from error


def complaint(errors: IO[bytes]) -> str:
    """The first error that the processes wrote, not counting that they were ended."""
    errors.seek(0)
    lines = [line.strip() for line in errors.read().decode(errors="replace").splitlines()]
    named = (line for line in lines if re.match(r"[\w.]+(Error|Exception)\b", line) and "CancelledError" not in line)
    return next(named, "they wrote no error")


def versions(machine: Machine) -> dict[str, str]:
    """Of the contenders' packages, as they are pinned, and of the servers that say it."""
    pinned = "\n".join((HERE / name).read_text() for name in ("requirements.txt", "requirements-arq.txt"))
    found = dict(re.findall(r"^([\w-]+)(?:\[.*\])?==(\S+)$", pinned, flags=re.MULTILINE))
    if machine.nats:
        told = subprocess.run([machine.nats, "--version"], capture_output=True, text=True, check=True).stdout
        found["nats-server"] = told.strip().removeprefix("nats-server: v")
    if machine.rabbit:
        found["rabbitmq-server"] = rabbit_version(machine.rabbit)
    return found


def chosen(words: str) -> Sequence[Contender]:
    """The contenders of these names, separated by commas."""
    by_key = {contender.key: contender for contender in CONTENDERS}
    try:
        return [by_key[word] for word in words.split(",")]
    except KeyError as error:
        raise argparse.ArgumentTypeError(f"expected some of {', '.join(by_key)}, got {error}") from None


async def main() -> None:
    parser = argparse.ArgumentParser(
        prog="bench.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--services", type=service_counts, default=[3], help="how many, such as 1,3,10")
    parser.add_argument("--latency-seconds", type=int, default=10, help="0 leaves the latencies out")
    parser.add_argument("--persistence", choices=("on", "off"), default="on", help="of Redis: each second, or none")
    parser.add_argument("--only", type=chosen, default=CONTENDERS, help=", ".join(one.key for one in CONTENDERS))
    parser.add_argument("--json", type=Path, help="a file for all figures")
    parser.add_argument("--server", default=shutil.which("redis-server") or shutil.which("valkey-server"))
    asked = parser.parse_args()
    if not asked.server:
        raise SystemExit("no redis-server on PATH; name one with --server")
    machine = Machine(asked.server, append_only=asked.persistence == "on")
    plan = Plan(asked.only, machine, asked.events, asked.runs, asked.latency_seconds)
    about = machine_line(asked.server, packages=ROOT / "bench" / "node")
    pinned = versions(machine)
    console = Console()
    for line in (about, ", ".join(f"{name} {version}" for name, version in pinned.items())):
        console.print(line, highlight=False, soft_wrap=True)
    outcomes: list[Outcome] = []
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("", total=len(asked.services) * plan.turns * len(plan.contenders))
        for count in asked.services:

            def progressed(what: str) -> None:
                progress.update(task, description=what, advance=1)

            found = await contest(plan, ALL_SERVICES[:count], progressed)
            keeps = "writes its file every second" if machine.append_only else "keeps nothing"
            show(console, f"One 400-byte event to {count} service{'s'[: count > 1]}; Redis {keeps}", found)
            outcomes += found
    if asked.json:
        settings = {"persistence": asked.persistence, "runs": asked.runs, "latency_seconds": asked.latency_seconds}
        write(asked.json, outcomes, machine=about, versions=pinned, settings=settings)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    asyncio.run(main())
