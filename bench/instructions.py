"""How many instructions Redis needs for a script: publish, route to three services, take and settle, by callgrind.

    make bench-instructions                             # needs valgrind
    make bench-instructions ARGS="--events 500"

Time differs from run to run by more than most changes of a script are worth; a count doesn't. It knows nothing of
caches, though: whether a change is worth its while, `make bench-scripts` has to say too. One process, one call at a
time, calls of the same size as there; a first round fills what is kept, and isn't counted.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from asyncio.subprocess import PIPE
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.options import asked, parser
from bench.scripts import Bus
from bench.server import Server, machine
from bench.tables import headed, show

COUNTED = re.compile(r"^(?:summary|totals): (\d+)$", re.MULTILINE)


async def control(server: Server, *words: str) -> None:
    """Tell the callgrind that runs the server what to do."""
    told = await asyncio.create_subprocess_exec("callgrind_control", *words, str(server.pid), stdout=PIPE, stderr=PIPE)
    _, complaint = await told.communicate()
    if told.returncode:
        raise SystemExit(complaint.decode())


def counts(directory: Path) -> Iterator[int]:
    """Those of each dump, the oldest first."""
    dumps = (path for path in directory.iterdir() if path.suffix[1:].isdigit())
    for path in sorted(dumps, key=lambda path: int(path.suffix[1:])):
        found = COUNTED.search(path.read_text())
        assert found is not None, path
        yield int(found[1])


async def counted(program: str, *, events: int, append_only: bool) -> list[float]:
    """Thousands of instructions an event, step by step."""
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
            return [count / events / 1000 for count in counts(Path(dumps))]


async def main() -> None:
    wanted = parser(__doc__)
    wanted.add_argument("--events", type=int, default=2_000)
    told = asked(wanted)
    if shutil.which("valgrind") is None:
        raise SystemExit("no valgrind on PATH; it counts the instructions")
    console = headed(machine(told.server))
    lines = []
    for append_only in (False, True):
        found = await counted(told.server, events=told.events, append_only=append_only)
        name = "append-only file" if append_only else "no persistence"
        lines.append((name, *(f"{count:.1f}" for count in (*found, sum(found)))))
    columns = ("", "publish", "route", "take and settle", "all")
    show(console, "Thousands of instructions an event, three services", columns, lines)


if __name__ == "__main__":
    asyncio.run(main())
