"""How many instructions Redis needs for a script: publish, route to three services, take and settle, by callgrind.

    make bench-instructions                             # needs valgrind
    make bench-instructions ARGS="--events 500"

Time differs from run to run by more than most changes of a script are worth; a count doesn't. It knows nothing of
caches, though: whether a change is worth its while, `make bench-scripts` has to say too. One process, one call at a
time, calls of the same size as there; a first round fills what is kept, and isn't counted. The second table says where
they go, by functions of Redis that have names in every build of it.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from asyncio.subprocess import PIPE
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.options import asked, parser
from bench.scripts import Bus
from bench.server import Server, machine
from bench.tables import headed, show

COUNTED = re.compile(r"^(?:summary|totals): (\d+)$", re.MULTILINE)
COSTS = re.compile(r"^ *([\d,]+) \(.*?[:?](\w+)(?: \[|$)", re.MULTILINE)
COMMANDS, SCRIPTS, PROPAGATION = "scriptCall", "lua_pcall", "propagatePendingCommands"
"""What scripts call, with each command's way there; scripts whole, with those; and the append-only file."""


async def control(server: Server, *words: str) -> None:
    """Tell the callgrind that runs the server what to do."""
    told = await asyncio.create_subprocess_exec("callgrind_control", *words, str(server.pid), stdout=PIPE, stderr=PIPE)
    _, complaint = await told.communicate()
    if told.returncode:
        raise SystemExit(complaint.decode())


@dataclass(frozen=True)
class Spent:
    """Thousands of instructions an event, of one step."""

    all: float
    commands: float
    scripts: float
    """Without the commands that they call."""
    file: float

    @classmethod
    def of(cls, dump: Path, *, events: int) -> Spent:
        found = COUNTED.search(dump.read_text())
        assert found is not None, dump
        words = ("callgrind_annotate", "--inclusive=yes", "--threshold=100", str(dump))
        told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        # Of several with one name the first counts, which is the dearest: the others are turns of it within itself.
        costs = {name: int(count.replace(",", "")) for count, name in reversed(COSTS.findall(told))}
        commands = costs[COMMANDS]
        counts = (int(found[1]), commands, costs[SCRIPTS] - commands, costs.get(PROPAGATION, 0))
        return cls(*(count / events / 1000 for count in counts))


def added(steps: Sequence[Spent]) -> Spent:
    return Spent(*(sum(getattr(step, field.name) for step in steps) for field in fields(Spent)))


async def counted(program: str, *, events: int, append_only: bool) -> list[Spent]:
    """Step by step."""
    with TemporaryDirectory(prefix="hippo-bench-") as dumps:
        under = ("valgrind", "--quiet", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={dumps}/dump")
        async with Server(program, append_only=append_only, under=under) as server:
            bus = Bus(server.url, events_stream=True)
            await bus.register()
            steps = (bus.publish, bus.route, bus.settle)
            for step in steps:
                await step(events)
            await control(server, "--instr=on")
            for step in steps:
                await step(events)
                await control(server, "--dump")
            await bus.connection.close()
        found = (path for path in Path(dumps).iterdir() if path.suffix[1:].isdigit())
        ordered = sorted(found, key=lambda path: int(path.suffix[1:]))
        return [Spent.of(path, events=events) for path in ordered[: len(steps)]]


def rows(found: Mapping[str, Sequence[Spent]]) -> Iterator[tuple[str, ...]]:
    for name, steps in found.items():
        yield (name, *(f"{step.all:,.1f}" for step in (*steps, added(steps))))


def parts(found: Mapping[str, Sequence[Spent]]) -> Iterator[tuple[str, ...]]:
    for name, steps in found.items():
        every = added(steps)
        rest = every.all - every.commands - every.scripts - every.file
        yield (name, *(f"{part:,.1f}" for part in (every.commands, every.scripts, every.file, rest)))


async def main() -> None:
    wanted = parser(__doc__)
    wanted.add_argument("--events", type=int, default=2_000)
    told = asked(wanted)
    if shutil.which("valgrind") is None:
        raise SystemExit("no valgrind on PATH; it counts the instructions")
    console = headed(machine(told.server))
    found = {
        "append-only file" if append_only else "no persistence": await counted(
            told.server, events=told.events, append_only=append_only
        )
        for append_only in (False, True)
    }
    columns = ("", "publish", "route", "take and settle", "all")
    show(console, "Thousands of instructions an event, three services", columns, rows(found))
    columns = ("", "commands of scripts", "Lua, arguments, replies", "append-only file", "the rest")
    show(console, "Where they go", columns, parts(found))


if __name__ == "__main__":
    asyncio.run(main())
