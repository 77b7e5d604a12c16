"""How many jobs may wait for a service, and what happens to events for it then. Pure: no clock, no Redis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from hippo_messenger.errors import ConfigurationError

__all__ = ["BacklogLimit", "hold_delay", "without_room"]

_LARGEST = 2**31 - 1
_LONGEST_HOLD = 30.0


@dataclass(frozen=True, slots=True)
class BacklogLimit:
    """How many jobs may wait for a service (delayed and prioritised ones among them), and what happens then.

    Nothing is lost either way. Several brokers that look at the same moment may exceed it by what each has in hand.
    """

    jobs: int
    when_full: Literal["hold", "refuse"] = "hold"
    """`hold`: the broker keeps an event for the service, and so for all that listen to it, until there is room.
    `refuse`: besides, `send` raises `ServiceFullError` for what the service listens to."""

    def __post_init__(self) -> None:
        if isinstance(self.jobs, bool) or not isinstance(self.jobs, int) or not 1 <= self.jobs <= _LARGEST:
            raise ConfigurationError(f"expected a backlog limit of 1 to {_LARGEST:,} jobs, got {self.jobs!r}")
        if self.when_full not in ("hold", "refuse"):
            raise ConfigurationError(f"expected when_full 'hold' or 'refuse', got {self.when_full!r}")

    def __str__(self) -> str:
        return f"{self.jobs:,} waiting, then {self.when_full}"


def without_room(wanted: Sequence[Sequence[str]], room: Mapping[str, int]) -> list[tuple[str, ...]]:
    """For each event, in their order, those of its services that have no room for it; it goes on where there are none.

    Args:
        wanted: For each event the services that get a copy.
        room: How many more jobs a service takes; who isn't in it has no limit.
    """
    left = dict(room)
    found = []
    for services in wanted:
        full = tuple(service for service in services if left.get(service, 1) <= 0)
        for service in () if full else services:
            if service in left:
                left[service] -= 1
        found.append(full)
    return found


def hold_delay(times_held: int, *, shortest: float, chance: float) -> float:
    """Seconds until a held event is looked at again: twice as long each time, up to 30, with half of it left to chance.

    So events that are held for long cost the broker little, and don't all come back at once.
    """
    longest = min(shortest * 2.0 ** min(max(times_held, 0), 32), max(_LONGEST_HOLD, shortest))
    return longest * (0.5 + chance / 2)
