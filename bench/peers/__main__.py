"""This package beside what people would pick instead, at the same guarantee: a durable queue for each service,
acknowledged after processing.

    make bench-peers                                        # three services; about ten minutes
    make bench-peers ARGS="--events 1000 --runs 1 --latency-seconds 0"
    make bench-peers ARGS="--services 1,3,10 --json peers.json"     # for python -m bench.picture

Each contender sends the same 400-byte event to every service; sender and services validate it with pydantic (BullMQ:
with zod), and every service is one worker process. How each is wired, and why so, stands in its file of bench/peers.
Each run has a server of its own, over TCP on the loopback. Runs are interleaved; the table has medians with the least
and the most. CPU is µs an event: that of the server, and that of all other processes. Latencies are from send to
processor, at 100 events a second, or as many as its sender can send, in as many runs. Slow contenders get fewer events.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bench.buses import NODE_PACKAGES
from bench.contest import ALL_SERVICES, Figures, Load, timed
from bench.options import asked, parser, service_counts, some_of
from bench.peers.contenders import CONTENDERS, Contender, Machine
from bench.peers.report import Outcome, recorded, show
from bench.peers.servers import rabbit_version
from bench.process import run_to_end
from bench.server import machine as machine_line
from bench.steps import Steps
from bench.tables import headed

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
        """How often each runs, those for the latencies among them."""
        return self.runs + self.calm_runs

    @property
    def calm_runs(self) -> int:
        return self.runs if self.latency_seconds else 0

    def load(self, contender: Contender, services: Sequence[str]) -> Load:
        events = int(self.events * contender.contestant.share)
        return Load(max(events, min(self.events, 500)), services=services)

    def calm_load(self, services: Sequence[str]) -> Load:
        return Load(100 * self.latency_seconds, rate=100, services=services)


class ContenderError(Exception):
    """One contender could not go on."""


async def contest(plan: Plan, services: Sequence[str], steps: Steps) -> list[Outcome]:
    """Everyone in turn with these services; who fails once is not tried again."""
    trouble = {one: why for one in plan.contenders if (why := plan.machine.missing(one))}

    async def tried(contender: Contender, load: Load) -> Figures | None:
        if contender in trouble:
            return None
        try:
            return await run(plan.machine, contender, load)
        except ContenderError as error:
            trouble[contender] = str(error)
            return None

    names = {contender: f"{contender.name} → {len(services)}" for contender in plan.contenders}
    fast = {(contender, plan.load(contender, services)): name for contender, name in names.items()}
    calm = {(contender, plan.calm_load(services)): name for contender, name in names.items()}
    runs = await steps.interleaved(fast, tried, runs=plan.runs)
    latencies = await steps.interleaved(calm, tried, runs=plan.calm_runs)
    return [
        Outcome(
            contender=contender,
            load=load,
            durability=plan.machine.durability(contender),
            runs=[one for one in found if one],
            calm=[one for one in latencies[contender, plan.calm_load(services)] if one],
            trouble=trouble.get(contender),
        )
        for (contender, load), found in runs.items()
    ]


async def run(machine: Machine, contender: Contender, load: Load) -> Figures:
    """One run on a new server.

    Raises:
        ContenderError: It didn't come to its end.
    """
    with tempfile.TemporaryFile() as errors:
        try:
            async with machine.server(contender) as server:
                return await timed(contender.contestant, server, load, limit=LIMIT, errors=errors)
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


async def main() -> None:
    contenders = {contender.key: contender for contender in CONTENDERS}
    wanted = parser(__doc__, prog="bench.peers")
    wanted.add_argument("--events", type=int, default=20_000)
    wanted.add_argument("--runs", type=int, default=3)
    wanted.add_argument("--services", type=service_counts, default=[3], help="how many, such as 1,3,10")
    wanted.add_argument("--latency-seconds", type=int, default=10, help="0 leaves the latencies out")
    wanted.add_argument("--persistence", choices=("on", "off"), default="on", help="of Redis: each second, or none")
    wanted.add_argument("--only", type=some_of(contenders), default=CONTENDERS, help=", ".join(contenders))
    wanted.add_argument("--json", type=Path, help="a file for all figures")
    told = asked(wanted)
    machine = Machine(told.server, append_only=told.persistence == "on")
    plan = Plan(told.only, machine, told.events, told.runs, told.latency_seconds)
    about = machine_line(told.server, packages=NODE_PACKAGES)
    pinned = versions(machine)
    console = headed(about, ", ".join(f"{name} {version}" for name, version in pinned.items()))
    outcomes: list[Outcome] = []
    with Steps(console, total=len(told.services) * plan.turns * len(plan.contenders)) as steps:
        for count in told.services:
            found = await contest(plan, ALL_SERVICES[:count], steps)
            keeps = "writes its file every second" if machine.append_only else "keeps nothing"
            show(console, f"One 400-byte event to {count} service{'s'[: count > 1]}; Redis {keeps}", found)
            outcomes += found
    if told.json:
        settings = {"persistence": told.persistence, "runs": told.runs, "latency_seconds": told.latency_seconds}
        told.json.write_text(recorded(outcomes, machine=about, versions=pinned, settings=settings))


if __name__ == "__main__":
    run_to_end(main())
