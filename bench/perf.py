"""Whose code processes run, by where perf finds the processor when it looks."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

__all__ = ["LOOKS", "OWNERS", "counted", "sampled"]

LOOKS = 1999
"""A second of processor time."""
OWNERS = ("the program", "pydantic", "uvloop, hiredis", "C libraries", "kernel", "others")
PACKAGES = {"pydantic_core": "pydantic", "uvloop": "uvloop, hiredis", "hiredis": "uvloop, hiredis"}
"""By the directory that the library is in."""
C_LIBRARIES = ("libc.", "libc-", "libm.", "libjemalloc", "ld-", "[vdso]")


@asynccontextmanager
async def sampled(pids: Collection[int], file: Path) -> AsyncIterator[None]:
    """Look at these processes, and write down what was seen.

    Raises:
        SystemExit: perf may not look at them.
    """
    orders_out, orders_in = os.pipe()
    answers_out, answers_in = os.pipe()
    words = ("perf", "record", "-e", "cpu-clock", "-F", str(LOOKS), "--no-inherit", "-o", str(file))
    perf = await asyncio.create_subprocess_exec(
        *words,
        *("-p", ",".join(map(str, pids)), "--delay=-1", f"--control=fd:{orders_out},{answers_in}"),  # waits to be told
        pass_fds=(orders_out, answers_in),
        stdout=DEVNULL,
        stderr=PIPE,
    )
    os.close(orders_out)
    os.close(answers_in)
    try:
        with suppress(BrokenPipeError):
            os.write(orders_in, b"enable\n")
        if not await asyncio.to_thread(os.read, answers_out, 16):  # it ended, and its end of the pipe with it
            complaint = (await perf.communicate())[1].decode()
            raise SystemExit(f"perf can't look at processes here; do without it by --no-perf:\n{complaint}")
        yield
    finally:
        if perf.returncode is None:
            perf.send_signal(signal.SIGINT)
            await perf.communicate()
        os.close(orders_in)
        os.close(answers_out)


async def counted(pids: Mapping[str, int], file: Path) -> Counter[tuple[str, str]]:
    """How often each of these processes, which still run, was seen in whose code; by its name and whose it is."""
    programs = {str(pid): (name, Path(f"/proc/{pid}/exe").resolve()) for name, pid in pids.items()}
    words = ("perf", "script", "-i", str(file), "-F", "pid,ip,dso")
    perf = await asyncio.create_subprocess_exec(*words, stdout=PIPE, stderr=DEVNULL)
    seen: Counter[tuple[str, str]] = Counter()
    for line in (await perf.communicate())[0].decode().splitlines():
        pid, _, place = line.split(maxsplit=2)
        name, program = programs[pid]
        seen[name, owner(place.strip("()"), program=program)] += 1
    return seen


def owner(place: str, *, program: Path) -> str:
    """Whose code it is, by the library or program that it is in."""
    path = Path(place)
    if place.startswith("[kernel"):
        return "kernel"
    if path.parent.name in PACKAGES:
        return PACKAGES[path.parent.name]
    if path.name.startswith(C_LIBRARIES):
        return "C libraries"
    if path.name.startswith("libpython") or (path.exists() and path.samefile(program)):
        return "the program"
    return "others"
