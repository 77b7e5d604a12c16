"""Puts jobs into the broker queue; what many tasks publish at once goes in one script call."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

from hippo_messenger.errors import (
    EventIdInUseError,
    MessengerClosedError,
    NotSentError,
    PossiblySentError,
    QueueCorruptedError,
    RedisError,
    SendError,
    ServiceFullError,
)
from hippo_messenger.log import log
from hippo_messenger.queues.call import PASSING, Argument, Caller
from hippo_messenger.queues.layout import Layout
from hippo_messenger.settings import Settings

__all__ = ["Publication", "Publisher"]


class Publication(NamedTuple):
    """One job for the broker queue."""

    name: str
    data: bytes
    options: str
    """BullMQ's job options as JSON; delay, priority and lifo below must say the same."""
    event_id: str = ""
    """Empty takes the queue's next number."""
    delay: int = 0
    """Milliseconds."""
    priority: int = 0
    lifo: bool = False
    own_options: str = ""
    """The options of the direct copy into the sender's own queue; empty is no copy."""
    digest: bytes = b""
    """What the duplicate window knows the direct copy by."""

    def kind(self) -> tuple[Argument, ...]:
        """What jobs that are alike share, as scripts/publish.lua wants it."""
        push = "RPUSH" if self.lifo else "LPUSH"
        return (self.name, self.options, self.delay, self.priority, push, self.own_options)


@dataclass(eq=False, slots=True)
class _Pending:
    publication: Publication
    accepted: asyncio.Future[str]
    is_out: bool = False
    """Whether Redis may have it."""
    refusal: RedisError | None = None
    """Why it doesn't, as of the last try."""


class _Withdrawn(Exception):
    """Of a batch that has not gone out yet somebody waits no more."""


class Publisher:
    """Coalesces what the tasks of one process publish: while one call is under way, the next batch gathers."""

    def __init__(self, caller: Caller, layout: Layout, *, own_queue: str, settings: Settings) -> None:
        self._caller = caller
        self._sender = own_queue
        self._keys = layout.broker.all
        self._keys_with_own = (*self._keys, *layout.queue(own_queue).all, layout.seen)
        self._settings = settings
        self._line: deque[_Pending] = deque()
        self._deadlines: deque[tuple[float, _Pending]] = deque()
        self._alarm: asyncio.TimerHandle | None = None
        self._flusher: asyncio.Task[None] | None = None
        self._closed = False

    async def publish(self, publication: Publication) -> str:
        """Add one job; its id once Redis has it, within `call_timeout`.

        Raises:
            NotSentError: Redis does not have it.
            PossiblySentError: Redis may have it.
        """
        pending = self._enqueue(publication)
        self._limit(pending)
        return await pending.accepted

    async def publish_many(self, publications: Iterable[Publication]) -> list[str]:
        """Add many jobs; their ids once Redis has all of them, within `call_timeout` for each batch.

        Raises:
            NotSentError: Redis does not have those that `event_ids` names; it has the others.
            PossiblySentError: Redis may or may not have those that `event_ids` names.
        """
        waiting = [self._enqueue(publication) for publication in publications]
        if not waiting:
            return []
        limit = self._settings.call_timeout * self._most_batches([pending.publication for pending in waiting])
        try:
            async with asyncio.timeout(limit):
                for pending in waiting:
                    if not pending.accepted.done():
                        await asyncio.wait([pending.accepted])
        except TimeoutError:
            pass  # what has no answer by now is told apart below
        except BaseException:
            _withdraw(waiting)
            raise
        failed: dict[str, SendError] = {}
        for pending in waiting:
            if not pending.accepted.done():
                failed[pending.publication.event_id] = _timed_out(pending, limit)
                pending.accepted.cancel()
            elif isinstance(error := pending.accepted.exception(), SendError):
                failed[pending.publication.event_id] = error
        if failed:
            raise _summed_up(failed, of=len(waiting))
        return [pending.accepted.result() for pending in waiting]

    async def close(self) -> None:
        """Wait until what is under way has ended, and take no more; may be called again."""
        self._closed = True
        if self._flusher is not None:
            await asyncio.wait([self._flusher])  # it goes on where this is cancelled
        if self._alarm is not None:
            self._alarm.cancel()

    def _enqueue(self, publication: Publication) -> _Pending:
        if self._closed:
            raise MessengerClosedError("expected an open messenger, got one that was closed; make a new one")
        pending = _Pending(publication, asyncio.get_running_loop().create_future())
        self._line.append(pending)
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush(), name="hippo-publisher")
        return pending

    def _limit(self, pending: _Pending) -> None:
        """Let it fail once its time is over. One timer for all costs a tenth of a timeout for each."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.call_timeout
        while self._deadlines and self._deadlines[0][1].accepted.done():
            self._deadlines.popleft()
        self._deadlines.append((deadline, pending))
        if self._alarm is None:
            self._alarm = loop.call_at(deadline, self._end_overdue)

    def _end_overdue(self) -> None:
        """End what has waited too long, and come back for the next; deadlines stand in their order."""
        loop = asyncio.get_running_loop()
        self._alarm = None
        while self._deadlines:
            deadline, pending = self._deadlines[0]
            if not pending.accepted.done() and deadline > loop.time():
                self._alarm = loop.call_at(deadline, self._end_overdue)
                return
            self._deadlines.popleft()
            _fail(pending, _timed_out(pending, self._settings.call_timeout))

    async def _flush(self) -> None:
        while batch := self._next_batch():
            behind = len(self._line)
            try:
                await self._publish(batch)
            except _Withdrawn:
                self._line.extendleft(reversed(batch))  # without those whose senders were told that they aren't sent
            except RedisError as error:
                self._refuse(batch, behind, error)
            except MessengerClosedError as error:  # the connection was, since nobody waits for the end of this
                for pending in batch:
                    _fail(pending, _cut_off(pending, error))
            except BaseException as error:  # a fault, or the loop's end: nobody may wait for ever
                for pending in batch:
                    _fail(pending, _caused(pending.publication, error, is_possible=pending.is_out))
                if not isinstance(error, Exception):
                    raise
                log.exception("events could not be sent; the publisher goes on with the next batch")

    def _refuse(self, batch: Iterable[_Pending], behind: int, cause: RedisError) -> None:
        """Fail a batch and, after an outage, so many behind it: they have stood there while it was tried in vain."""
        for pending in batch:
            _fail(pending, _caused(pending.publication, cause, is_possible=cause.maybe_executed))
        for pending in [self._line.popleft() for _ in range(behind if isinstance(cause, PASSING) else 0)]:
            _fail(pending, _caused(pending.publication, cause, is_possible=False))

    def _next_batch(self) -> list[_Pending]:
        batch: list[_Pending] = []
        size = 0
        while self._line and len(batch) < self._settings.send_batch and size < self._settings.send_batch_bytes:
            pending = self._line.popleft()
            if not pending.accepted.done():  # its sender has given up
                batch.append(pending)
                size += len(pending.publication.data)
        return batch

    def _most_batches(self, publications: Sequence[Publication]) -> int:
        """Into how many batches these go at most: one ends when it is full, by number or by bytes."""
        size = sum([len(publication.data) for publication in publications])
        return -(-len(publications) // self._settings.send_batch) + size // self._settings.send_batch_bytes

    async def _publish(self, batch: Sequence[_Pending]) -> None:
        def depart() -> None:
            if any(pending.accepted.done() and not pending.is_out for pending in batch):
                raise _Withdrawn
            for pending in batch:
                pending.is_out = True

        def stay(refusal: RedisError) -> None:
            for pending in batch:
                pending.is_out, pending.refusal = False, refusal

        keys = self._keys_with_own if any(pending.publication.own_options for pending in batch) else self._keys
        reply = await self._caller.call(
            "publish",
            keys,
            self._arguments(batch),
            patience=self._settings.call_timeout,
            on_departure=depart,
            on_refusal=stay,
        )
        texts = [value.decode(errors="replace") for value in cast("list[bytes]", reply)]
        for pending, job_id, status in zip(batch, texts[::2], texts[1::2], strict=True):
            if status in ("added", "known"):
                if not pending.accepted.done():
                    pending.accepted.set_result(job_id)
            else:
                _fail(pending, _refused(pending.publication, status))

    def _arguments(self, batch: Iterable[_Pending]) -> list[Argument]:
        """What scripts/publish.lua wants to know of a batch."""
        window = round(self._settings.deduplication_window * 1000)
        arguments: list[Argument] = [int(self._settings.events_stream), window, self._sender]
        for kind, alike in itertools.groupby((pending.publication for pending in batch), key=Publication.kind):
            run = list(alike)
            arguments += (*kind, len(run))
            for publication in run:
                arguments += (publication.event_id, publication.data, publication.digest)
        return arguments


def _withdraw(waiting: Iterable[_Pending]) -> None:
    """Nobody waits for these any more: what has not gone out stays in, and what came of the others is no news."""
    for pending in waiting:
        if not pending.accepted.cancel() and not pending.accepted.cancelled():
            pending.accepted.exception()


def _fail(pending: _Pending, error: SendError) -> None:
    if not pending.accepted.done():
        pending.accepted.set_exception(error)


def _refused(publication: Publication, status: str) -> SendError:
    ids = (publication.event_id,)
    if status.startswith("again "):
        return PossiblySentError(
            f"possibly sent: the reply of a first try was lost, and to a second one Redis said {status[6:]!r}; "
            "send it again with the same event_id",
            event_ids=ids,
        )
    if status == "failed":
        return EventIdInUseError(
            f"an event with the id {publication.event_id} stands among the failed jobs of the broker; "
            "redrive or discard that one",
            event_ids=ids,
        )
    if status == "taken":
        return EventIdInUseError(
            f"another service has sent an event with the id {publication.event_id}; send under an id of your own",
            event_ids=ids,
        )
    if status.startswith("full "):
        return ServiceFullError(
            f"not sent: {status.removeprefix('full ')}, which listens to {publication.name}, has as many waiting jobs "
            "as it takes; send it again later",
            event_ids=ids,
        )
    error = NotSentError(f"not sent: {status}", event_ids=ids)
    error.__cause__ = QueueCorruptedError(f"{status}; nothing was changed")
    return error


def _caused(publication: Publication, cause: BaseException, *, is_possible: bool) -> SendError:
    """Why it was not sent, or only possibly; of what is no error of ours, its kind too."""
    ids = (publication.event_id,)
    said = str(cause) if isinstance(cause, RedisError) else f"{type(cause).__name__}: {cause}"
    error: SendError
    if is_possible:
        error = PossiblySentError(f"possibly sent ({said}); send it again with the same event_id", event_ids=ids)
    else:
        error = NotSentError(f"not sent: {said}", event_ids=ids)
    error.__cause__ = cause
    return error


def _cut_off(pending: _Pending, cause: MessengerClosedError) -> SendError:
    ids = (pending.publication.event_id,)
    error: SendError
    if pending.is_out:
        error = PossiblySentError(
            "possibly sent: the messenger was closed before Redis gave an answer; send it again with the same event_id",
            event_ids=ids,
        )
    else:
        error = NotSentError("not sent: the messenger was closed before its turn came", event_ids=ids)
    error.__cause__ = cause
    return error


def _timed_out(pending: _Pending, limit: float) -> SendError:
    ids = (pending.publication.event_id,)
    if pending.is_out:
        return PossiblySentError(
            f"possibly sent: Redis gave no answer within {limit:g} s; send it again with the same event_id",
            event_ids=ids,
        )
    error = NotSentError(f"not sent within {limit:g} s: {pending.refusal or 'Redis was not reached'}", event_ids=ids)
    error.__cause__ = pending.refusal
    return error


def _summed_up(failed: dict[str, SendError], *, of: int) -> SendError:
    first = next(iter(failed.values()))
    kind = _common_kind(failed.values())
    error = kind(f"{len(failed)} of {of} events: {first}", event_ids=failed)
    error.__cause__ = first
    return error


def _common_kind(errors: Iterable[SendError]) -> type[SendError]:
    """What can be said of all of them."""
    kinds = {type(error) for error in errors}
    if len(kinds) == 1:
        return kinds.pop()
    if PossiblySentError in kinds:
        return PossiblySentError
    return SendError if EventIdInUseError in kinds else NotSentError  # Redis may have what stands under that id
