"""What one process of a benchmark has used so far, as Linux tells it, and how such a process starts and ends."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

__all__ = ["megabytes", "most_megabytes", "processor_seconds", "run_to_end", "tree_seconds", "until_terminated"]


def processor_seconds(pid: int) -> float:
    """In user and system; 0 where nobody tells it."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def tree_seconds(pid: int) -> float:
    """In user and system, of a process and of all that it has started and that still run."""
    return processor_seconds(pid) + sum(tree_seconds(child) for child in children(pid))


def children(pid: int) -> list[int]:
    """Those of all its threads; none where nobody tells it."""
    found: list[int] = []
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, listed.read_text().split())
        except OSError:  # the thread has ended meanwhile
            continue
    return found


def megabytes(pid: int, kind: str) -> float:
    """Of memory: `VmRSS` is what it has, `VmHWM` the most that it has had; 0 where nobody tells it."""
    try:
        match = re.search(rf"{kind}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0.0
    return int(match[1]) / 1024 if match else 0.0


def most_megabytes(pid: int) -> float:
    """The most memory that a process, and all that it has started and that still run, have had."""
    return megabytes(pid, "VmHWM") + sum(most_megabytes(child) for child in children(pid))


def run_to_end(benchmark: Coroutine[Any, Any, None]) -> None:
    """Run it, and let it and each process that it starts have 4,096 files and connections."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    asyncio.run(benchmark)


async def until_terminated() -> None:
    """Wait for SIGTERM."""
    terminated = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminated.set)
    await terminated.wait()
