"""Which fault when: decided by a seed before anything runs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

__all__ = ["WEIGHTS", "Planned", "plan"]

WEIGHTS: Mapping[str, int] = {
    "kill worker": 14,
    "kill broker": 12,
    "kill sender": 6,
    "kill Node worker": 5,
    "SIGTERM worker": 6,
    "stop worker": 8,
    "stop broker": 6,
    "stop Node worker": 3,
    "kill Redis": 6,
    "restart Redis": 5,
    "stall Redis": 5,
    "DEBUG SLEEP": 3,
    "drop replies": 8,
    "cut connections": 5,
    "slow replies": 3,
    "half-open": 4,
    "CLIENT KILL": 3,
    "SCRIPT FLUSH": 3,
    "out of memory": 3,
    "full disk": 2,
    "FLUSHALL when idle": 1,
    "rolling restart": 1,
}
"""Of about a hundred faults; each comes at least once."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault to come."""

    number: int
    kind: str
    at: float
    """Seconds after the start."""
    seed: str
    """For what the fault itself leaves to chance: whom it hits, and for how long."""


def plan(seed: int, *, count: int, seconds: float, without: frozenset[str] = frozenset()) -> tuple[Planned, ...]:
    """So many faults, spread over the time; always the same for the same arguments."""
    random = Random(seed)
    kinds = _deck({kind: weight for kind, weight in WEIGHTS.items() if kind not in without}, count)
    random.shuffle(kinds)
    gap = seconds / max(count, 1)
    return tuple(
        Planned(number, kind, (number + random.random() * 0.8) * gap, f"{seed}/{number}")
        for number, kind in enumerate(kinds)
    )


def _deck(weights: Mapping[str, int], count: int) -> list[str]:
    """Each kind once, the rest by weight: always the kind that lacks most."""
    drawn = dict.fromkeys(list(weights)[:count], 1)
    while sum(drawn.values()) < count:
        scarcest = min(drawn, key=lambda kind: (drawn[kind] + 0.5) / weights[kind])
        drawn[scarcest] += 1
    return [kind for kind, times in drawn.items() for _ in range(times)]
