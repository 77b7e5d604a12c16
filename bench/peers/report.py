"""What a contest has shown: as a table or lines, and as JSON for whoever draws it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console

from bench import tables
from bench.contest import Figures, Load, least_to_most, median, process_memory, summary
from bench.peers.contenders import OURS, Contender

__all__ = ["Outcome", "recorded", "show"]

COLUMNS = (
    "",
    "events/s",
    "least–most",
    "ours ×",
    "server µs",
    "CPU µs",
    "server MB",
    "MB each",
    "p50 ms",
    "p99 ms",
    "kept",
)


@dataclass(frozen=True)
class Outcome:
    """Of one contender with so many services: its runs, those for the latencies, and why some are not there."""

    contender: Contender
    load: Load
    durability: str
    runs: Sequence[Figures]
    calm: Sequence[Figures]
    trouble: str | None


def show(console: Console, title: str, outcomes: Sequence[Outcome]) -> None:
    """The fastest first, then who has not run, and why."""
    ran = sorted((one for one in outcomes if one.runs), key=lambda one: -median(one.runs).rate)
    ours = next((median(one.runs).rate for one in ran if one.contender == OURS), None)
    notes = [
        f"{one.contender.name}: {'no latencies' if one.runs else 'not run'}: {one.trouble}"
        for one in outcomes
        if one.trouble
    ]
    tables.show(console, title, COLUMNS, [row(one, ours) for one in ran], words=("kept",), notes=notes)


def row(outcome: Outcome, ours: float | None) -> tuple[str, ...]:
    middle, calm = median(outcome.runs), median(outcome.calm) if outcome.calm else None
    return (
        outcome.contender.name,
        f"{middle.rate:,.0f}",
        least_to_most(outcome.runs),
        f"{ours / middle.rate:.1f}" if ours else "–",
        f"{middle.server_cpu:,.0f}",
        f"{middle.cpu:,.0f}",
        f"{middle.server_mb:,.0f}",
        process_memory(middle),
        f"{calm.p50:.1f}" if calm else "–",
        f"{calm.p99:.1f}" if calm else "–",
        outcome.durability,
    )


def recorded(
    outcomes: Sequence[Outcome], *, machine: str, versions: Mapping[str, str], settings: Mapping[str, Any]
) -> str:
    """All figures as JSON, each run with its own, and what they were taken with."""
    return tables.as_json(
        machine=machine,
        versions=versions,
        settings=settings,
        results=[figures(one) for one in outcomes if one.runs],
        missing=[
            {"name": one.contender.name, "services": len(one.load.services), "reason": one.trouble}
            for one in outcomes
            if one.trouble
        ],
    )


def figures(outcome: Outcome) -> dict[str, Any]:
    calm = median(outcome.calm) if outcome.calm else None
    return {
        "name": outcome.contender.name,
        "ours": outcome.contender == OURS,
        "server": outcome.contender.server,
        "services": len(outcome.load.services),
        "events": outcome.load.events,
        "concurrency": outcome.contender.contestant.concurrency,
        "durability": outcome.durability,
        **summary(outcome.runs),
        "p50": calm.p50 if calm else None,
        "p99": calm.p99 if calm else None,
        "runs": [asdict(run) for run in outcome.runs],
    }
