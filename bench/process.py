"""What one process of a benchmark has used so far, as Linux tells it, and how such a process waits for its end."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from pathlib import Path

__all__ = ["megabytes", "processor_seconds", "until_terminated"]


def processor_seconds(pid: int) -> float:
    """In user and system; 0 where nobody tells it."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def megabytes(pid: int, kind: str) -> float:
    """Of memory: `VmRSS` is what it has, `VmHWM` the most that it has had."""
    match = re.search(rf"{kind}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(match[1]) / 1024 if match else 0.0


async def until_terminated() -> None:
    """Wait for SIGTERM."""
    terminated = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminated.set)
    await terminated.wait()
