"""What one process saw, in a file of its own that outlives it: each entry is one O_APPEND write, kept by the kernel."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Entry", "Log", "LogReader"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened in one process, which is called by its name and its generation: `account-1.003`."""

    by: str
    at: float
    what: str
    """Of a sender: sending, again, accepted, unsent, possibly. Of a worker: began, done, raised, cancelled; lost,
    recovered, trouble."""
    event_id: str
    more: str = ""


class Log:
    """Writes the file of one process."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)

    def note(self, what: str, event_id: str, more: str = "") -> None:
        os.write(self._file, f"{time.time():.6f} {what} {event_id} {more}\n".encode())


class LogReader:
    """Reads all files of a directory while they grow."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read: dict[Path, int] = {}

    def new_entries(self) -> Iterator[Entry]:
        """What was written since the last time, file by file."""
        for path in sorted(self._directory.glob("*.log")):
            start = self._read.get(path, 0)
            if path.stat().st_size == start:
                continue
            with path.open("rb") as file:
                file.seek(start)
                whole, newline, _ = file.read().rpartition(b"\n")
            self._read[path] = start + len(whole) + len(newline)
            for line in whole.decode().splitlines():
                at, what, event_id, *more = line.split(" ", 3)
                yield Entry(path.stem, float(at), what, event_id, more[0] if more else "")
