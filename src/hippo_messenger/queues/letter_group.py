"""Dead letters by the kind of their failure: how many, since when, until when. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from hippo_messenger.queues.fingerprint import Fingerprint
from hippo_messenger.queues.letter import Letter

__all__ = ["Grouping", "LetterGroup"]


@dataclass(frozen=True, slots=True)
class LetterGroup:
    """The dead letters of one fingerprint."""

    fingerprint: Fingerprint
    count: int
    first: datetime | None
    last: datetime | None
    reason: str
    """Of the newest."""
    example: str
    """The id of the newest."""
    is_rejected: bool
    """They are records of events that were turned away at `send`."""


class Grouping:
    """Takes dead letters, the oldest first, and counts them."""

    def __init__(self) -> None:
        self._groups: dict[tuple[bool, Fingerprint], LetterGroup] = {}

    def add(self, letter: Letter) -> None:
        """Count one."""
        key = (letter.where.is_rejected, letter.fingerprint)
        known = self._groups.get(key)
        self._groups[key] = LetterGroup(
            fingerprint=letter.fingerprint,
            count=1 if known is None else known.count + 1,
            first=letter.failed_at if known is None else known.first,
            last=letter.failed_at,
            reason=letter.reason,
            example=letter.id,
            is_rejected=letter.where.is_rejected,
        )

    def groups(self) -> Sequence[LetterGroup]:
        """What there is, the largest group first, rejected events after all others."""
        return sorted(
            self._groups.values(), key=lambda group: (group.is_rejected, -group.count, group.fingerprint.group)
        )
