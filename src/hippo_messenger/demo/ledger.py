"""The ledger: what the demo's processes saw happen, each in a file of its own, written outside of the product."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

__all__ = ["Entry", "Ledger", "LedgerReader", "What"]

What = Literal["sent", "rejected", "unsent", "began", "done", "raised", "finished"]
"""Of a line: sent, rejected or unsent. Of a job: began, then done or raised. Of a process: finished sending."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened."""

    what: What
    by: str
    """The process."""
    line: int = 0
    event_id: str = ""
    attempt: int = 0
    at: float = 0.0
    """Seconds since 1970; of a line that was sent, when its sending began."""


class Ledger:
    """Writes one process' file; what is written stays, even when the process is killed a moment later."""

    def __init__(self, directory: Path, by: str) -> None:
        self._by = by
        self._file = os.open(directory / f"{by}.ndjson", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)

    def note(self, what: What, *, line: int = 0, event_id: str = "", attempt: int = 0, at: float | None = None) -> None:
        """Write one entry; it happens now, unless `at` says when."""
        entry = asdict(Entry(what, self._by, line, event_id, attempt, time.time() if at is None else at))
        os.write(self._file, json.dumps(entry, separators=(",", ":")).encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


class LedgerReader:
    """Reads every file of a directory while they grow."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read: dict[Path, int] = {}

    def new_entries(self) -> Iterator[Entry]:
        """What was written since the last time."""
        for path in sorted(self._directory.glob("*.ndjson")):
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._read[path] = self._read.get(path, 0) + len(line)
                    yield Entry(**json.loads(line))
