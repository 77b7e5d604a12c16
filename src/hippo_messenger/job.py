"""What a processor gets: one event, and a way to say how it goes."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from hippo_messenger.catalogue.model import EventData, EventType, Service

__all__ = ["HippoJob", "JobChannel"]

Data = TypeVar("Data", bound=EventData, covariant=True)


class JobChannel(Protocol):
    """Where a job's log and progress go, and where its cancellation comes from; the processor's thread decides how."""

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the processor any more."""
        ...

    def wait_cancelled(self, timeout: float | None) -> bool:
        """Block the thread until that is so, or so many seconds; whether it is."""
        ...

    def log(self, line: str) -> Awaitable[None]:
        """Add a line to the job's log."""
        ...

    def update_progress(self, progress: float | dict[str, object]) -> Awaitable[None]:
        """Replace the job's progress."""
        ...


@dataclass(frozen=True, slots=True)
class HippoJob(Generic[Data]):
    """One event in the hands of a processor."""

    data: Data
    """The event's data, validated: `match job.data: case OrderSuccess(): …` narrows it."""
    job_type: EventType
    """The event's type."""
    origin: Service | str
    """The service that sent it; a plain string where this process' catalogue doesn't know that service yet."""
    id: str
    """The event's id: the same in every service, and at every attempt."""
    time: datetime
    """When it was sent, by the sender's clock; where its envelope doesn't say, when its job was added."""
    attempt: int
    """1 at the first try."""
    raw: bytes
    """The envelope as it came over the wire, with the members that this version doesn't know."""
    channel: JobChannel = field(repr=False, compare=False)
    expires: datetime | None = None
    """From when on nobody needs to process it any more, as its sender said; None is never."""

    @property
    def cancelled(self) -> bool:
        """Whether a plain processor should end: its time limit is over, or its worker stops and the grace period is.

        What it returns after it has seen that counts for nothing: the job is put back, or its attempt has failed. An
        asynchronous processor gets `asyncio.CancelledError` instead; threads that it started may look here.
        """
        return self.channel.cancelled

    def wait_cancelled(self, timeout: float | None = None) -> bool:
        """Sleep in a plain processor, but no longer than until it should end; whether it should.

        Args:
            timeout: Seconds; None is without end.
        """
        return self.channel.wait_cancelled(timeout)

    def log(self, line: str) -> Awaitable[None]:
        """Add a line to the job's log, where BullMQ's tools show it.

        In an asynchronous processor await it; in a plain one it has happened when the call returns. Where Redis doesn't
        take it (it is full, or away for longer than `call_timeout`), the line is lost, the worker's log says so, and
        the job goes on.
        """
        return self.channel.log(line)

    def update_progress(self, progress: float | dict[str, object]) -> Awaitable[None]:
        """Say how far the job is, where BullMQ's tools show it: a number or a JSON object.

        In an asynchronous processor await it; in a plain one it has happened when the call returns. It may be lost, as
        a line of `log`. NaN and infinity are written as strings, as in results.
        """
        return self.channel.update_progress(progress)
