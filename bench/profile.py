"""What each process does while events are sent as fast as it goes, and whose code it runs.

    make bench-profile                                  # ours and Node's better one, a minute
    make bench-profile ARGS="--only ours --persistence off --no-perf"

The processes are those of `make bench`; of several runs the one in the middle is shown. For each event a process runs
(its own code, or the kernel for it), is ready to run but has no core, or sleeps; the row of the services is the mean of
them. What the cores idle is the most that any better use of them could gain.

Whose code it is, perf says, which looks 2,000 times a second of processor time. *The program* is Redis with its Lua, or
the interpreter, Python or Node, with its objects and its garbage collector; C libraries copy and allocate. Of Node what
it has compiled is among the others.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from argparse import BooleanOptionalAction
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.buses import BUSES, NODE_PACKAGES, NODES, OURS
from bench.contest import Contestant, Load, timed
from bench.options import asked, parser, some_of
from bench.perf import LOOKS, OWNERS, counted, sampled
from bench.process import run_to_end
from bench.server import Server, machine
from bench.steps import Steps
from bench.tables import headed, show

SERVER, SERVICE = "Redis", "each service"
AWAKE = ("its code", "kernel", "ready, no core")
TICK = 1e6 / os.sysconf("SC_CLK_TCK")
"""µs."""

Times = Mapping[tuple[str, str], float]
"""µs, by whose they are (a role, or all cores) and what was done."""


@dataclass(frozen=True)
class Seen:
    """One run, for each event."""

    load: Load
    times: Times
    owners: Times
    """Whose code each process ran; empty without perf."""

    @property
    def wall(self) -> float:
        """From one event to the next (µs)."""
        return self.times["cores", "wall"]


class Onlooker:
    """Sees one run."""

    def __init__(self, server: Server, load: Load, *, perf: bool) -> None:
        self._server = server
        self._load = load
        self._perf = perf

    @asynccontextmanager
    async def __call__(self, parts: Mapping[str, int]) -> AsyncIterator[None]:
        pids, events = {SERVER: self._server.pid, **parts}, self._load.events
        with tempfile.TemporaryDirectory(prefix="hippo-bench-") as directory:
            file = Path(directory, "perf.data")
            async with sampled(pids.values(), file) if self._perf else nullcontext():
                began = so_far(pids)
                yield
                ended = so_far(pids)
            looks = await counted(pids, file) if self._perf else {}
        self.seen = Seen(
            self._load,
            {what: (ended[what] - began[what]) / events for what in began},
            {what: count / LOOKS / events * 1e6 for what, count in looks.items()},
        )


def so_far(pids: Mapping[str, int]) -> Times:
    """What these processes have done, by all their threads, and all cores together."""
    _, *cores = Path("/proc/stat").read_text().splitlines()[0].split()
    times = {
        ("cores", "wall"): time.monotonic() * 1e6,
        ("cores", "idle"): (int(cores[3]) + int(cores[4])) * TICK,
        ("cores", "stolen"): int(cores[7]) * TICK,
    }
    for role, pid in pids.items():
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        waits = (path.read_text().split()[1] for path in Path(f"/proc/{pid}/task").glob("*/schedstat"))
        times[role, "its code"], times[role, "kernel"] = int(stat[11]) * TICK, int(stat[12]) * TICK
        times[role, "ready, no core"] = sum(map(int, waits)) / 1000
    return times


async def seen(program: str, load: Load, perf: bool, contestant: Contestant, append_only: bool) -> Seen:
    """One run on a server of its own."""
    async with Server(program, append_only=append_only) as server:
        onlooker = Onlooker(server, load, perf=perf)
        await timed(contestant, server, load, onlooker=onlooker)
    return onlooker.seen


def middle(runs: Sequence[Seen]) -> Seen:
    return sorted(runs, key=lambda run: run.wall)[len(runs) // 2]


def rows(load: Load) -> Mapping[str, Sequence[str]]:
    """What each line is called, and which processes it has the mean of."""
    return {SERVER: (SERVER,), "sender": ("sender",), "router": ("router",), SERVICE: load.services}


def mean(times: Times, roles: Sequence[str], what: str) -> float:
    return statistics.mean(times.get((role, what), 0.0) for role in roles)


def doing(run: Seen) -> Iterator[tuple[str, ...]]:
    """What each process does, and what it sleeps in the rest of the time."""
    for name, roles in rows(run.load).items():
        times = [mean(run.times, roles, what) for what in AWAKE]
        yield (name, *(f"{each:.1f}" for each in (*times, run.wall - sum(times))))


def owned(run: Seen) -> Iterator[tuple[str, ...]]:
    for name, roles in rows(run.load).items():
        times = [mean(run.owners, roles, who) for who in OWNERS]
        yield (name, *(f"{each:.1f}" for each in (*times, sum(times))))


def left(run: Seen) -> str:
    """What the cores had left, in words."""
    idle, stolen, wall = (run.times["cores", what] for what in ("idle", "stolen", "wall"))
    cores = os.cpu_count() or 1
    return (
        f"In {cores} × {wall:.0f} µs the cores were idle for {idle:.0f}, and somebody else's for {stolen:.0f}: "
        f"never idle, they would do {1e6 * cores / (cores * wall - idle):,.0f} events/s."
    )


async def main() -> None:
    wanted = parser(__doc__)
    wanted.add_argument("--events", type=int, default=20_000)
    wanted.add_argument("--runs", type=int, default=3)
    wanted.add_argument("--persistence", choices=["off", "on", "both"], default="both")
    wanted.add_argument("--only", type=some_of(BUSES), default=(OURS, NODES[0]), help=", ".join(BUSES))
    wanted.add_argument("--perf", action=BooleanOptionalAction, default=shutil.which("perf") is not None)
    told = asked(wanted)
    console = headed(machine(told.server, packages=None if told.only == [OURS] else NODE_PACKAGES))
    modes = {"off": (False,), "on": (True,), "both": (False, True)}[told.persistence]
    turns = {(bus, append_only): bus.name for append_only in modes for bus in told.only}
    with Steps(console, total=told.runs * len(turns)) as steps:
        run = partial(seen, told.server, Load(told.events), told.perf)
        found = await steps.interleaved(turns, run, runs=told.runs)
    for (bus, append_only), runs in found.items():
        shown = middle(runs)
        keeps = "append-only file" if append_only else "no persistence"
        title = f"{bus.name}, {keeps}: {1e6 / shown.wall:,.0f} events/s; µs an event"
        show(console, title, ("", *AWAKE, "asleep"), doing(shown), notes=(left(shown),))
        if shown.owners:
            show(console, "Whose code that is", ("", *OWNERS, "all"), owned(shown))


if __name__ == "__main__":
    run_to_end(main())
