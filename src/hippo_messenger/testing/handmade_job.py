"""A job for a processor alone: no server, no broker and no worker stands behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from datetime import datetime
from typing import TypeVar

from pydantic_core import to_json

from hippo_messenger.cancellation import Cancellation
from hippo_messenger.catalogue.model import EventData, Service, read_data_json, to_wire
from hippo_messenger.envelope import check_event_id, decode, encode, new_event_id, with_expiry
from hippo_messenger.errors import ConfigurationError
from hippo_messenger.job import HippoJob

__all__ = ["HandmadeJob", "job"]

Data = TypeVar("Data", bound=EventData)
Shown = TypeVar("Shown", bound=EventData, covariant=True)


class HandmadeJob(HippoJob[Shown]):
    """A `HippoJob` that `job` has made: what its processor says is kept, to be looked at.

    Saying works as in a worker: on an event loop it is awaited, and without that nothing is kept; elsewhere it has
    happened when the call returns.
    """

    __slots__ = ()

    channel: _Kept

    @property
    def lines(self) -> tuple[str, ...]:
        """Its log, as far as it was written."""
        return tuple(self.channel.lines)

    @property
    def progress(self) -> float | dict[str, object] | None:
        """What `update_progress` said last; None before it said anything."""
        return self.channel.progress

    def cancel(self) -> None:
        """Let `cancelled` be true from now on, as when a time limit is over; may be called from any thread."""
        self.channel.cancellation.set()


def job(
    data: Data,
    *,
    origin: Service | str = "test",
    event_id: str | None = None,
    time: datetime | None = None,
    attempt: int = 1,
    expires: datetime | None = None,
) -> HandmadeJob[Data]:
    """A job as a worker hands it to a processor, its data as it comes over the wire.

    Args:
        data: The event's data.
        origin: The service that sent it; a plain string where the catalogue doesn't know that service.
        event_id: The event's id; left out, one is made.
        time: When it was sent, with a zone; left out, now.
        attempt: 1 at the first try.
        expires: From when on nobody needs to process it any more, with a zone; left out, never.

    Raises:
        EventValidationError: The data doesn't fit its model, as `model_copy` and `model_construct` can make it.
        InvalidEventIdError: The id can't be used.
        ConfigurationError: `attempt` is less than 1.
    """
    if attempt < 1:
        raise ConfigurationError(f"expected an attempt from 1 on, got {attempt}")
    event_type, wire = type(data).event_type, to_wire(data)
    known_id = new_event_id() if event_id is None else check_event_id(event_id)
    raw = encode(event_id=known_id, source=str(origin), event_type=event_type.value, data=wire, time=time)
    if expires is not None:
        raw = with_expiry(raw, expires)
    envelope = decode(raw)
    assert envelope.time is not None
    return HandmadeJob(
        data=read_data_json(type(data), wire),
        job_type=event_type,
        origin=origin,
        id=envelope.id,
        time=envelope.time,
        attempt=attempt,
        raw=raw,
        channel=_Kept(),
        expires=envelope.expires,
    )


class _Kept:
    """Keeps what a processor says."""

    __slots__ = ("cancellation", "lines", "progress")

    def __init__(self) -> None:
        self.cancellation = Cancellation()
        self.lines: list[str] = []
        self.progress: float | dict[str, object] | None = None

    @property
    def cancelled(self) -> bool:
        return self.cancellation.is_set

    def wait_cancelled(self, timeout: float | None) -> bool:
        return self.cancellation.wait(timeout)

    def log(self, line: str) -> Awaitable[None]:
        return _said(lambda: self.lines.append(line))

    def update_progress(self, progress: float | dict[str, object]) -> Awaitable[None]:
        to_json(progress, inf_nan_mode="strings")  # raises what it raises in a worker, where it is no JSON
        return _said(lambda: self._replace(progress))

    def _replace(self, progress: float | dict[str, object]) -> None:
        self.progress = progress


def _said(say: Callable[[], None]) -> Awaitable[None]:
    """Say it when that is awaited on an event loop, elsewhere at once."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        say()
        return _Done()
    return _when_awaited(say)


async def _when_awaited(say: Callable[[], None]) -> None:
    say()


class _Done:
    """Awaits to nothing, as what has happened already."""

    def __await__(self) -> Generator[None, None, None]:
        return
        yield
