"""What a contest has shown: as a table or lines, and as JSON for whoever draws it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.contest import Figures, median, spread
from bench.peers.contenders import OURS, Contender

__all__ = ["Outcome", "show", "write"]

COLUMNS = ("", "events/s", "least–most", "ours ×", "server µs", "CPU µs", "p50 ms", "p99 ms", "kept")
WIDTHS = (22, 10, 15, 8, 11, 8, 8, 9)
WORDS = ("", "kept")
"""The columns of words, which may be broken where the terminal is narrow."""
NARROW = 100


@dataclass(frozen=True)
class Outcome:
    """Of one contender with so many services: its runs, the one for the latencies, and why one is not there."""

    contender: Contender
    services: int
    events: int
    durability: str
    runs: Sequence[Figures]
    calm: Figures | None
    trouble: str | None

    @property
    def spread(self) -> tuple[float, float]:
        """The least and the most events a second."""
        return spread(self.runs)


def show(console: Console, title: str, outcomes: Sequence[Outcome]) -> None:
    """A table in a terminal wide enough, elsewhere aligned lines, each whole. Then who has not run, and why."""
    ran = sorted((one for one in outcomes if one.runs), key=lambda one: -median(one.runs).rate)
    ours = next((median(one.runs).rate for one in ran if one.contender == OURS), None)
    lines = [row(one, ours) for one in ran]
    if console.is_terminal and console.width >= NARROW:
        console.print(table(title, lines))
    else:
        print(title)
        for line in (COLUMNS, *lines):
            print(aligned(line))
    for one in outcomes:
        if one.trouble:
            what = "no latencies" if one.runs else "not run"
            console.print(f"{one.contender.name}: {what}: {one.trouble}", highlight=False, markup=False, soft_wrap=True)
    console.print()


def row(outcome: Outcome, ours: float | None) -> tuple[str, ...]:
    middle, calm = median(outcome.runs), outcome.calm
    return (
        outcome.contender.name,
        f"{middle.rate:,.0f}",
        "–".join(f"{rate:,.0f}" for rate in outcome.spread),
        f"{ours / middle.rate:.1f}" if ours else "–",
        f"{middle.server_cpu:,.0f}",
        f"{middle.cpu:,.0f}",
        f"{calm.p50:.1f}" if calm else "–",
        f"{calm.p99:.1f}" if calm else "–",
        outcome.durability,
    )


def aligned(cells: Sequence[str]) -> str:
    name, *numbers, words = cells
    sized = zip(numbers, WIDTHS[1:], strict=True)
    return f"{name:<{WIDTHS[0]}}" + "".join(f"{cell:>{width}}" for cell, width in sized) + f"  {words}"


def table(title: str, lines: Sequence[Sequence[str]]) -> Table:
    made = Table(
        title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False, show_edge=False
    )
    for name in COLUMNS:
        made.add_column(name, justify="left" if name in WORDS else "right", no_wrap=name not in WORDS)
    for line in lines:
        made.add_row(*line)
    return made


def write(
    file: Path, outcomes: Sequence[Outcome], *, machine: str, versions: Mapping[str, str], settings: Mapping[str, Any]
) -> None:
    """All figures, each run with its own, and what they were taken with."""
    what = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": machine,
        "versions": dict(versions),
        "settings": dict(settings),
        "results": [figures(one) for one in outcomes if one.runs],
        "missing": [
            {"name": one.contender.name, "services": one.services, "reason": one.trouble}
            for one in outcomes
            if one.trouble
        ],
    }
    file.write_text(json.dumps(what, indent=2, ensure_ascii=False) + "\n")


def figures(outcome: Outcome) -> dict[str, Any]:
    least, most = outcome.spread
    middle = asdict(median(outcome.runs))
    latencies = {"p50": outcome.calm.p50, "p99": outcome.calm.p99} if outcome.calm else {"p50": None, "p99": None}
    return {
        "name": outcome.contender.name,
        "ours": outcome.contender == OURS,
        "server": outcome.contender.server,
        "services": outcome.services,
        "events": outcome.events,
        "concurrency": outcome.contender.contestant.concurrency,
        "durability": outcome.durability,
        **middle,
        **latencies,
        "least": least,
        "most": most,
        "runs": [asdict(run) for run in outcome.runs],
    }
