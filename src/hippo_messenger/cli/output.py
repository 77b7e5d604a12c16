"""What the commands print: results on stdout, logs and complaints on stderr."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import TypeVar

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hippo_messenger.cli.shown import in_line
from hippo_messenger.log import log

if sys.platform == "win32":
    _new_event_loop = None
else:
    from uvloop import new_event_loop as _new_event_loop

__all__ = [
    "Listing",
    "alarming",
    "complain",
    "console",
    "duration",
    "package_version",
    "print_json",
    "run",
    "show_logs",
]

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Listing:
    """A table: drawn to fit a terminal, and plain aligned lines where there is none. Cells may hold rich's markup."""

    titles: Sequence[str]
    """A title that begins with `>` is that of a column of numbers."""
    rows: Sequence[Sequence[str]]
    wrapped: Sequence[str] = ()
    """The titles of the columns that give way where it gets narrow; the others keep their width."""

    def print(self) -> None:
        """Print it on stdout."""
        terminal = console()
        if terminal.is_terminal:
            terminal.print(self.drawn())
        else:
            print("\n".join(self.plain()), flush=True)

    def drawn(self) -> Table:
        """For a terminal."""
        table = Table(header_style="dim", box=SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
        for title in self.titles:
            name = title.removeprefix(">")
            table.add_column(
                name,
                justify="right" if title.startswith(">") else "left",
                no_wrap=name not in self.wrapped,
                overflow="fold",
            )
        for row in self.rows:
            table.add_row(*row)
        return table

    def plain(self) -> list[str]:
        """For a pipe or a file: every line whole, however long."""
        names = [title.removeprefix(">") for title in self.titles]
        lines = [names, *([Text.from_markup(cell).plain for cell in row] for row in self.rows)]
        widths = [max(len(line[at]) for line in lines) for at in range(len(names))]
        return ["  ".join(self._aligned(line, widths)).rstrip() for line in lines]

    def _aligned(self, line: Sequence[str], widths: Sequence[int]) -> list[str]:
        return [
            cell.rjust(width) if title.startswith(">") else cell.ljust(width)
            for cell, width, title in zip(line, widths, self.titles, strict=True)
        ]


def console() -> Console:
    """The terminal, for tables and the like."""
    return Console(highlight=False)


def print_json(value: object, *, on_one_line: bool = False) -> None:
    """Print a value as JSON, for scripts; at once, since the command may go on."""
    print(json.dumps(value, indent=None if on_one_line else 2, ensure_ascii=False), flush=True)


def complain(message: str) -> None:
    """Say in one line on stderr what is wrong, if anybody can be told."""
    with suppress(OSError):
        print(f"hippo: {in_line(message)}", file=sys.stderr, flush=True)


def duration(seconds: float | None) -> str:
    """A time that has passed, in its largest unit; a dash where there is none."""
    if seconds is None:
        return "–"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def alarming(count: int) -> str:
    """A number that should be 0."""
    return f"[red]{count}[/]" if count else "0"


def show_logs() -> None:
    """Show the package's log on stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s  %(levelname)-7s  %(message)s", "%H:%M:%S"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


def package_version() -> str:
    """The version of this package."""
    return version("hippo-service-messenger")


def run(main: Coroutine[object, object, Result]) -> Result:
    """Run a coroutine on the fastest event loop there is."""
    with asyncio.Runner(loop_factory=_new_event_loop) as runner:
        return runner.run(main)
