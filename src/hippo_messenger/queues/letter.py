"""One dead letter: a job in BullMQ's `failed` state, as Redis has it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property

from hippo_messenger.queues.fingerprint import Fingerprint, fingerprint_of

__all__ = ["HISTORY_FIELD", "Letter", "LetterId", "PastFailure"]

HISTORY_FIELD = "history"
"""The field of a job's hash that holds its failures before it was redriven, as scripts/redrive.lua writes it."""


@dataclass(frozen=True, slots=True)
class LetterId:
    """Where a dead letter stands. What was redriven and failed again stands elsewhere, under the same id."""

    id: str
    score: str
    """When it failed (ms), as text: exactly what `failed` says."""
    is_rejected: bool = False
    """It is the record of an event that was turned away at `send`."""

    @property
    def key(self) -> bytes:
        """The id as Redis has it, even where it is no text."""
        return self.id.encode(errors="surrogateescape")


@dataclass(frozen=True, slots=True)
class PastFailure:
    """How a job had failed before it was redriven."""

    reason: str
    failed_at: datetime | None
    redriven_at: datetime | None
    attempts: int
    trace: str = ""
    """The newest then; its end, where it was long."""
    data: str | None = None
    """What its data was, where it was edited then."""


@dataclass(frozen=True)
class Letter:
    """One dead letter; of its hash only the fields that were asked for."""

    where: LetterId
    fields: Mapping[str, bytes]
    """The job's hash; empty where that is gone."""
    logs: tuple[bytes, ...] = field(default=())

    @property
    def id(self) -> str:
        """The job's id."""
        return self.where.id

    @property
    def name(self) -> str:
        """The job's name, which is the event type."""
        return self._text("name")

    @property
    def reason(self) -> str:
        """Why it failed."""
        return self._text("failedReason") if self.fields else "its hash is gone: nothing is left of it but its id"

    @property
    def data(self) -> bytes:
        """The job's data: an envelope, where all is well."""
        return self.fields.get("data", b"")

    @cached_property
    def failed_at(self) -> datetime | None:
        """When it failed."""
        return _time(self.where.score)

    @cached_property
    def sent_at(self) -> datetime | None:
        """When the job was added to this queue."""
        return _time(self._text("timestamp"))

    @property
    def attempts(self) -> int:
        """How often it was tried since it was added, or last redriven."""
        text = self._text("atm")
        return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else 0

    @cached_property
    def options(self) -> Mapping[str, object]:
        """BullMQ's options of the job; what is no JSON object counts as none."""
        found = _json(self.fields.get("opts", b""))
        return found if isinstance(found, dict) else {}

    @cached_property
    def traces(self) -> tuple[str, ...]:
        """The traces of its failures, the newest last."""
        found = _json(self.fields.get("stacktrace", b""))
        return tuple(trace for trace in found if isinstance(trace, str)) if isinstance(found, list) else ()

    @cached_property
    def history(self) -> tuple[PastFailure, ...]:
        """Its failures before it was redriven, the newest last."""
        found = _json(self.fields.get(HISTORY_FIELD, b""))
        entries: Sequence[object] = found if isinstance(found, list) else ()
        return tuple(_past(entry) for entry in entries if isinstance(entry, dict))

    @cached_property
    def fingerprint(self) -> Fingerprint:
        """The kind of its failure."""
        return fingerprint_of(self.name, self.reason, self.traces)

    def _text(self, name: str) -> str:
        return self.fields.get(name, b"").decode(errors="replace")


def _past(entry: Mapping[str, object]) -> PastFailure:
    attempts, trace, data = entry.get("attempts"), entry.get("trace"), entry.get("data")
    return PastFailure(
        reason=str(entry.get("reason", "")),
        failed_at=_time(str(entry.get("failedOn"))),
        redriven_at=_time(str(entry.get("redrivenOn"))),
        attempts=attempts if isinstance(attempts, int) else 0,
        trace=trace if isinstance(trace, str) else "",
        data=data if isinstance(data, str) else None,
    )


def _time(text: str) -> datetime | None:
    """Milliseconds as Redis has them; None where no calendar has them."""
    try:
        return datetime.fromtimestamp(float(text) / 1000, UTC)
    except (OSError, OverflowError, ValueError):
        return None


def _json(raw: bytes) -> object:
    """What JSON says, also where a text in it holds bytes that are no UTF-8, as a reason of somebody else's may."""
    try:
        return json.loads(raw.decode(errors="replace"))
    except (ValueError, RecursionError):
        return None
