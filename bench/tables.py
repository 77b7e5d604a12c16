"""How the benchmarks show what they have found: in whole lines, as tables and as JSON."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

__all__ = ["as_json", "headed", "show"]

NARROW = 100
"""In a terminal with fewer columns tables are lines, which it may break but doesn't cut."""


def headed(*lines: str) -> Console:
    """A console that has said these lines, each whole."""
    console = Console()
    for line in lines:
        say(console, line)
    return console


def show(
    console: Console,
    title: str,
    columns: Sequence[str],
    lines: Iterable[Sequence[str]],
    *,
    words: Collection[str] = (),
    notes: Sequence[str] = (),
) -> None:
    """A table in a terminal that is wide enough, elsewhere aligned lines, each whole; then the notes."""
    lines, words = list(lines), {columns[0], *words}  # the other columns have numbers
    if console.is_terminal and console.width >= NARROW:
        console.print(title, style="bold", highlight=False)  # a table's own title is broken where the table is narrow
        console.print(table(columns, lines, words))
    else:
        print(title, *aligned(columns, lines, words), sep="\n")
    for note in notes:
        say(console, note)
    print(flush=True)


def say(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def table(columns: Sequence[str], lines: Sequence[Sequence[str]], words: Collection[str]) -> Table:
    """Words may be broken, numbers not."""
    made = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in columns:
        made.add_column(name, justify="left" if name in words else "right", no_wrap=name not in words)
    for line in lines:
        made.add_row(*line)
    return made


def aligned(columns: Sequence[str], lines: Sequence[Sequence[str]], words: Collection[str]) -> Iterator[str]:
    widths = [max(map(len, cells)) for cells in zip(columns, *lines, strict=True)]
    formats = [f"{{:{'<' if name in words else '>'}{width}}}" for name, width in zip(columns, widths, strict=True)]
    return ("  ".join(formats).format(*line).rstrip() for line in (columns, *lines))


def as_json(**what: Any) -> str:
    """What was found, with the date."""
    return json.dumps({"date": f"{datetime.now(UTC):%Y-%m-%d}", **what}, indent=2, ensure_ascii=False) + "\n"
