"""What the benchmarks can be told on the command line."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from bench.contest import ALL_SERVICES

__all__ = ["asked", "counts", "parser", "service_counts", "some_of"]

Kind = TypeVar("Kind")


def parser(about: str | None, *, prog: str | None = None) -> argparse.ArgumentParser:
    """Of a program that starts servers."""
    made = argparse.ArgumentParser(prog=prog, description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument(
        "--server",
        default=shutil.which("redis-server") or shutil.which("valkey-server"),
        help="the program, and settings of its own: 'redis-server --hash-max-listpack-value 64' is as it is shipped",
    )
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


def some_of(choices: Mapping[str, Kind]) -> Callable[[str], Sequence[Kind]]:
    """Those of some names, separated by commas, in their usual order."""

    def chosen(words: str) -> Sequence[Kind]:
        names = words.split(",")
        if unknown := [name for name in names if name not in choices]:
            raise argparse.ArgumentTypeError(f"expected some of {', '.join(choices)}, got {', '.join(unknown)}")
        return [choice for name, choice in choices.items() if name in names]

    return chosen
