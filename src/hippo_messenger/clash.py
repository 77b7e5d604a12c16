"""Two deployments that register one service in turn, each undoing the other. Pure: the clock is an argument."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hippo_messenger.registration import Maker, Registration

__all__ = ["Change", "Clash", "Side", "find_clash"]

_WINDOW = 15 * 60.0
"""How long (s) after a change its undoing counts."""


@dataclass(frozen=True, slots=True)
class Change:
    """One registration that changed what the registry holds for its service."""

    at: float
    """Seconds since 1970, by Redis' clock."""
    maker: Maker
    registration: Registration


@dataclass(frozen=True, slots=True)
class Side:
    """One of two deployments that clash."""

    listens_to: tuple[str, ...]
    hosts: tuple[str, ...]
    """Where its messengers run, as far as they said so."""

    def __str__(self) -> str:
        where = f" (from {', '.join(self.hosts)})" if self.hosts else ""
        return (", ".join(self.listens_to) or "nothing") + where


@dataclass(frozen=True, slots=True)
class Clash:
    """A service whose registration changed back to what it was, and not by who had changed it."""

    service: str
    stands: Side
    """What stands now, or stood after the newest of such changes."""
    other: Side
    changes: int
    """How often the registration changed within the window."""

    def __str__(self) -> str:
        return (
            f"{self.service} is registered in turn by two deployments: one listens to {self.stands}, the other to "
            f"{self.other}; {self.changes} changes within {_WINDOW / 60:.0f} minutes, and the last one decides who "
            "gets what. Let both register the same, or give one of them a service name of its own"
        )


def find_clash(changes: Sequence[Change], *, now: float) -> Clash | None:
    """The newest change that undid one of another messenger, within the window.

    One messenger that changes its mind and back is no clash. A messenger that doesn't say which one it is, as in Node,
    counts as another each time.

    Args:
        changes: Of one service, the newest first.
        now: Seconds since 1970.
    """
    recent = [change for change in changes if now - change.at <= _WINDOW]
    for newer, change in enumerate(recent):
        before = recent[newer + 1 :]
        if before and _undoes(change, before):
            return _clash(change, before[0], recent)
    return None


def _undoes(change: Change, before: Sequence[Change]) -> bool:
    undone = before[0]
    is_back = any(older.registration == change.registration for older in before[1:])
    return is_back and undone.registration != change.registration and not _by_same(change.maker, undone.maker)


def _by_same(one: Maker, other: Maker) -> bool:
    return bool(one.instance) and one.instance == other.instance


def _clash(change: Change, undone: Change, recent: Sequence[Change]) -> Clash:
    return Clash(change.registration.service, _side(change, recent), _side(undone, recent), changes=len(recent))


def _side(change: Change, recent: Iterable[Change]) -> Side:
    hosts = {other.maker.host for other in recent if other.registration == change.registration and other.maker.host}
    return Side(tuple(sorted(change.registration.listens_to)), tuple(sorted(hosts)))
