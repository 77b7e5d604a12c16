"""What the benchmarks can be told on the command line, and how they show what they have found."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.contest import ALL_SERVICES

__all__ = ["NARROW", "asked", "counts", "parser", "service_counts", "show"]

NARROW = 100
"""In a terminal with fewer columns tables are lines, which it may break but doesn't cut."""


def parser(about: str | None, *, prog: str | None = None) -> argparse.ArgumentParser:
    """Of a program that starts servers."""
    made = argparse.ArgumentParser(prog=prog, description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--server", default=shutil.which("redis-server") or shutil.which("valkey-server"))
    return made


def asked(of: argparse.ArgumentParser) -> argparse.Namespace:
    """What is asked of the program; it ends here where there is no server."""
    found = of.parse_args()
    if not found.server:
        raise SystemExit("no redis-server on PATH; name one with --server")
    return found


def counts(words: str) -> Sequence[int]:
    """Numbers of one or more, separated by commas."""
    try:
        numbers = [int(word) for word in words.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise argparse.ArgumentTypeError(f"expected numbers such as 1,3,10, got {words}")
    return numbers


def service_counts(words: str) -> Sequence[int]:
    """Numbers of services, separated by commas."""
    numbers = counts(words)
    if max(numbers) > len(ALL_SERVICES):
        raise argparse.ArgumentTypeError(f"expected numbers from 1 to {len(ALL_SERVICES)}, got {words}")
    return numbers


def show(console: Console, title: str, columns: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """A table in a terminal that is wide enough, elsewhere aligned lines, each whole. The first column has words."""
    if console.is_terminal and console.width >= NARROW:
        console.print(title, style="bold", highlight=False)  # a table's own title is broken where the table is narrow
        console.print(table(columns, lines))
    else:
        print(title)
        widths = [max(map(len, cells)) for cells in zip(columns, *lines, strict=True)]
        for first, *others in (columns, *lines):
            numbers = (f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True))
            print("  ".join((f"{first:<{widths[0]}}", *numbers)))
    print(flush=True)


def table(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> Table:
    made = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for number, name in enumerate(columns):
        made.add_column(name, justify="right" if number else "left", no_wrap=True)
    for line in lines:
        made.add_row(*line)
    return made
