"""What goes in and out of a queue: jobs as they were taken, how they ended, where events go.

What there is one of for every job is a tuple with names: it is made in a quarter of the time of a frozen dataclass.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from hippo_messenger.envelope import wire_time
from hippo_messenger.errors import EventTooLargeError
from hippo_messenger.registration import Registration, Retention

__all__ = ["TAKE_BYTES", "Order", "Outcome", "Parked", "QueuedJob", "Routed", "Routing", "Settled", "Taken"]

_REASON_LENGTH = 4096
_COMMON_LENGTH = 1024
"""Options up to this length are remembered: most jobs of a queue have the same."""
_SHORTEST_WAIT = 0.001
"""Redis takes 0 for ever."""

TAKE_BYTES = 1024 * 1024
"""One call reads no more than that and one job: it holds Redis up for as long as it reads."""


class QueuedJob(NamedTuple):
    """One job as it was taken: everything still as Redis has it."""

    id: str
    token: str
    name: str
    data: bytes
    options: bytes
    timestamp: int
    """When it was added, in ms."""
    attempts_made: int
    attempts_started: int
    deferred_failure: str | None
    """Why it is to fail without being processed."""
    scheduler: str | None
    """The job scheduler that it came from."""
    stacktrace: bytes | None

    @property
    def key(self) -> bytes:
        """The id as Redis has it, even where it is no text."""
        return self.id.encode(errors="surrogateescape")

    @property
    def read_options(self) -> Mapping[str, object]:
        """The options as JSON says; what is no object counts as none."""
        read = _read_common_options if len(self.options) <= _COMMON_LENGTH else _read_options
        return read(self.options)

    def keep_completed(self, default: Retention) -> Retention:
        """How long it is to be kept once it is completed: what its own options say, or the default."""
        read = _read_common_keep if len(self.options) <= _COMMON_LENGTH else _read_keep
        return read(self.options, default)

    def check_size(self, limit: int) -> None:
        """To be done before its data is parsed: what takes longer than a lock lasts would be taken again and again.

        Raises:
            EventTooLargeError: Its data has more bytes than that.
        """
        if len(self.data) > limit:
            raise EventTooLargeError(
                f"expected a job of at most {limit:,} bytes, got one of {len(self.data):,}; raise "
                "HIPPO_MAX_EVENT_BYTES for brokers and workers too, then redrive it"
            )


@dataclass(frozen=True, slots=True)
class Order:
    """How much a take may take, and for how long it holds it."""

    count: int
    lock: float
    """Seconds."""
    max_bytes: int = TAKE_BYTES
    worker: str = ""
    """Shown as the job's processor by BullMQ's tools."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a take brought; empty where nobody has looked yet."""

    jobs: tuple[QueuedJob, ...] = ()
    broken: tuple[str, ...] = ()
    """Ids whose job is gone or unreadable; they were put aside."""
    due_in: float | None = None
    """In how many seconds the next delayed job is due."""
    limited_for: float = 0.0
    """For how many seconds the queue's rate limit lets nothing through."""
    more: bool = False
    """More jobs wait."""
    looked: bool = False
    """Somebody has looked: without jobs there was none."""

    def wait_at_most(self, longest: float, *, precedence: float = 0.0) -> float:
        """How long (s) nobody need look again; where a delayed job is due others may look so much earlier."""
        wait = min(longest, self.limited_for or longest)
        if self.due_in is not None:
            wait = min(wait, self.due_in + precedence)
        return max(wait, _SHORTEST_WAIT)


class Outcome(NamedTuple):
    """How one job ended; made by the class methods, one for each way."""

    kind: str
    job: QueuedJob
    value: str | bytes = b""
    stacktrace: str | bytes = b""
    number: int = 0
    keep: Retention = Retention()

    @classmethod
    def completed(cls, job: QueuedJob, result: bytes, *, keep: Retention) -> Outcome:
        """Done; `result` is JSON."""
        return cls("completed", job, value=result, keep=keep)

    @classmethod
    def expired(cls, job: QueuedJob, expiry: datetime, *, keep: Retention) -> Outcome:
        """Completed without effect, since its event counts no more."""
        return cls.completed(job, f'{{"expired":"{wire_time(expiry)}"}}'.encode(), keep=keep)

    @classmethod
    def failed(
        cls, job: QueuedJob, reason: str, *, stacktrace: str = "[]", attempts: int = 1, keep: Retention = Retention()
    ) -> Outcome:
        """A dead letter; `stacktrace` is a JSON list."""
        return cls("failed", job, value=reason[:_REASON_LENGTH], stacktrace=stacktrace, number=attempts, keep=keep)

    @classmethod
    def retry(cls, job: QueuedJob, reason: str, *, stacktrace: str, delay: float) -> Outcome:
        """Failed, and to be tried again after so many seconds."""
        return cls("retry", job, value=reason[:_REASON_LENGTH], stacktrace=stacktrace, number=math.ceil(delay * 1000))

    @classmethod
    def later(cls, job: QueuedJob, *, delay: float) -> Outcome:
        """Put back for so many seconds; no attempt is counted."""
        return cls("later", job, number=math.ceil(delay * 1000))

    @classmethod
    def back(cls, job: QueuedJob) -> Outcome:
        """Put back at the head of the line; no attempt is counted. Of several, give the newest first."""
        return cls("back", job)


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a batch of outcomes."""

    statuses: tuple[str, ...]
    """For each outcome `settled`, `lost` (the lock is somebody else's) or `gone` (the job is)."""
    taken: Taken


class Routing(NamedTuple):
    """Where one event goes."""

    job: QueuedJob
    event_id: str
    digest: bytes
    """Of source and id; empty is not checked against the duplicate window."""
    services: tuple[Registration, ...]
    extra: str = ""
    """Members to add to the options of the copies, as JSON without braces."""


@dataclass(frozen=True, slots=True)
class Parked:
    """One copy that could not be delivered."""

    service: str
    event_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Routed:
    """What became of a batch of routings."""

    stale: bool
    """The registry has moved on: nothing was done, read it again."""
    statuses: tuple[str, ...] = ()
    """For each event `routed`, `duplicate`, `lost` or `gone`."""
    parked: tuple[Parked, ...] = ()
    taken: Taken = Taken()


def _read_options(raw: bytes) -> Mapping[str, object]:
    try:
        options = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return options if isinstance(options, dict) else {}


_read_common_options = lru_cache(maxsize=64)(_read_options)


def _read_keep(raw: bytes, default: Retention) -> Retention:
    return Retention.from_job_option(_read_options(raw).get("removeOnComplete"), default=default)


_read_common_keep = lru_cache(maxsize=64)(_read_keep)
