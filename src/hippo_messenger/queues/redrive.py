"""The one redrive that a queue has at a time: dead letters go back into line, and everybody can see how far it is.

Its progress is in Redis, counted by the very calls that put letters back, so a redrive that is killed says how far it
came. The next one goes on with what is left: what was put back stands among the dead letters no longer.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal, cast
from uuid import uuid4

from hippo_messenger.errors import DeadLetterError, RedisError, RedriveUnderWayError, UnknownDeadLetterError
from hippo_messenger.observer import Observer
from hippo_messenger.queues.call import Argument, Caller
from hippo_messenger.queues.connection import Connection
from hippo_messenger.queues.dead_letters import DeadLetters, Selection
from hippo_messenger.queues.layout import Layout
from hippo_messenger.queues.letter import Letter
from hippo_messenger.settings import Settings

__all__ = ["Redrive", "RedrivePlan", "RedriveProgress", "RedriveState"]

RedriveState = Literal["running", "done", "cancelled", "interrupted", "dry run"]

_LEASE = 5.0
"""For how long (s) a redrive that says nothing keeps others out."""
_SAY_EVERY = 1.0
_PATIENCE, _END_PATIENCE = 30.0, 2.0
_BATCH = 50
_JUDGED_FIELDS = ("name", "data", "opts")

FindFault = Callable[[Letter], str | None]
"""Why a letter is to be passed over, or None."""


@dataclass(frozen=True, slots=True)
class RedrivePlan:
    """What is to be redriven, and how."""

    selection: Selection
    rate: float | None = None
    """At most so many a second."""
    limit: int | None = None
    """At most so many in all."""
    fault: FindFault | None = None
    """What it finds a fault with is passed over."""
    total: int | None = None
    """How many are expected, for those who watch."""


@dataclass(frozen=True, slots=True)
class RedriveProgress:
    """How far a redrive is, or was."""

    state: RedriveState
    redriven: int = 0
    passed_over: int = 0
    """Not valid, or with a parent that can't be told."""
    seen: int = 0
    """How many letters were looked at; what is neither redriven nor passed over somebody else took meanwhile."""
    total: int | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    by: str = ""
    """Host and process."""
    faults: Mapping[str, int] = field(default_factory=dict)
    """Why letters were passed over, and how many; known only to who redrives."""


class Redrive:
    """Redrives the dead letters of one queue; one at a time over all processes."""

    def __init__(self, connection: Connection, *, queue: str, settings: Settings) -> None:
        layout = Layout(settings.prefix)
        self._queue = queue
        self._letters = DeadLetters(connection, queue=queue, settings=settings)
        self._caller = Caller(connection, observer=Observer())
        self._events_stream = int(settings.events_stream)
        self._task_keys = (layout.redrive_lock(queue), layout.redrive(queue))
        self._keys = (*layout.queue(queue).all, layout.rejected(queue), *self._task_keys)

    async def run(
        self, plan: RedrivePlan, *, told: Callable[[RedriveProgress], None] = lambda progress: None
    ) -> RedriveProgress:
        """Put the letters of a plan back into line, the oldest first, with no attempt counted; `told` after each batch.

        Done again after it was cut off anywhere it goes on with what is left.

        Raises:
            RedriveUnderWayError: Another one is under way, or has taken over while Redis did not hear of this one.
            DeadLetterError: The one letter that was asked for can't be redriven.
            UnknownDeadLetterError: None has the id, or is of the group.
        """
        async with self._task(plan.total) as task:
            async for batch in self._chosen(plan, task):
                await task.put_back([(letter, b"", "") for letter in batch])
                told(task.progress)
                if task.is_cancelled:
                    break
                await task.pace(len(batch), plan.rate)
            task.check_the_one(plan.selection.job_id)
        return task.progress

    async def preview(self, plan: RedrivePlan) -> RedriveProgress:
        """What `run` would do now; changes nothing."""
        task = _Task(self._caller, self._keys, token="", queue=self._queue, events_stream=0)
        async for batch in self._chosen(plan, task):
            task.progress = replace(task.progress, redriven=task.progress.redriven + len(batch))
        return replace(task.progress, state="dry run")

    async def run_edited(self, letter: Letter, *, data: bytes, options: str = "") -> None:
        """Give one letter new data, note what it was in its history, and put it back into line.

        Args:
            letter: As it was read; where it has failed again since, it is left alone.
            data: The job's new data, whole.
            options: Its new options as JSON; left out, it keeps them.

        Raises:
            RedriveUnderWayError: A redrive of the queue is under way.
            UnknownDeadLetterError: It is no dead letter any more.
            DeadLetterError: It can't be redriven, or somebody has cancelled that; it is as it was.
        """
        async with self._task(1) as task:
            await task.put_back([(letter, data, options)])
            task.check_the_one(letter.id)
            if not task.progress.redriven:
                raise DeadLetterError(
                    f"{letter.id} is not redriven and has its data as it was: somebody has cancelled this redrive of "
                    f"{self._queue}; edit it again"
                )

    async def progress(self) -> RedriveProgress | None:
        """How far the queue's last redrive is, whoever made it; None if there never was one."""
        _, _, flat, is_running = await self._act("look", token="")
        return _progress(flat, is_running=bool(is_running))

    async def cancel(self) -> bool:
        """Let the redrive that is under way end after its present batch; False if none is."""
        answer, *_ = await self._act("cancel", token="")
        return answer == b"cancelled"

    @asynccontextmanager
    async def _task(self, total: int | None) -> AsyncIterator[_Task]:
        """One redrive, from taking the queue's lock of redriving to saying how it ended."""
        task = await self._begin(total)
        state: RedriveState = "interrupted"
        try:
            yield task
            state = "cancelled" if task.is_cancelled else "done"
        except DeadLetterError:  # of the one letter that was asked for
            state = "cancelled" if task.is_cancelled else "done"
            raise
        finally:
            task.progress = replace(task.progress, state=state)
            if not task.is_lost:
                with suppress(RedisError):  # its lock goes by itself
                    await self._act("end", token=task.token, words=(state,), patience=_END_PATIENCE)

    async def _begin(self, total: int | None) -> _Task:
        token = uuid4().hex
        by = f"{socket.gethostname()}:{os.getpid()}"
        members = ("by", by) if total is None else ("by", by, "total", total)
        answer, _, flat, _ = await self._act("begin", token=token, words=members)
        if answer == b"busy":
            raise RedriveUnderWayError(_under_way(self._queue, _progress(flat, is_running=True)))
        task = _Task(self._caller, self._keys, token=token, queue=self._queue, events_stream=self._events_stream)
        task.progress = replace(task.progress, total=total)
        return task

    async def _chosen(self, plan: RedrivePlan, task: _Task) -> AsyncIterator[Sequence[Letter]]:
        """The letters to be redriven, in batches; a batch may be empty where all were passed over."""
        fields = None if plan.fault is None else _JUDGED_FIELDS
        size = _BATCH if plan.rate is None else max(1, min(_BATCH, int(plan.rate)))
        async for page in self._letters.pages(plan.selection, fields=fields):
            if not page:
                yield ()  # whoever redrives is to say that it is still there
            for first in range(0, len(page), size):
                batch = page[first : first + size]
                room = len(batch) if plan.limit is None else plan.limit - task.progress.redriven
                yield task.without_faults(batch, plan.fault, most=room)
                if plan.limit is not None and task.progress.redriven >= plan.limit:
                    return

    async def _act(
        self, verb: str, *, token: str, words: Sequence[Argument] = (), patience: float = _PATIENCE
    ) -> tuple[bytes, int, list[bytes], int]:
        arguments = (verb, token, round(_LEASE * 1000), *words)
        reply = await self._caller.call("redriving", self._task_keys, arguments, patience=patience)
        return cast("tuple[bytes, int, list[bytes], int]", reply)


class _Task:
    """One redrive under way."""

    def __init__(self, caller: Caller, keys: Sequence[str], *, token: str, queue: str, events_stream: int) -> None:
        self.token = token
        self.progress = RedriveProgress("running")
        self.is_cancelled = self.is_lost = False
        self._caller = caller
        self._keys = keys
        self._queue = queue
        self._events_stream = events_stream
        self._faults: Counter[str] = Counter()
        self._statuses: tuple[bytes, ...] = ()
        self._due = 0.0

    def without_faults(self, letters: Sequence[Letter], find: FindFault | None, *, most: int) -> Sequence[Letter]:
        """The first of some letters that are to be redriven, at most so many; those passed over are counted."""
        sound: list[Letter] = []
        seen = 0
        for letter in letters:
            if len(sound) == most:
                break
            seen += 1
            fault = None if find is None else find(letter)
            if fault is None:
                sound.append(letter)
            else:
                self._faults[fault] += 1
        self.progress = replace(self.progress, seen=self.progress.seen + seen)
        self._note_faults()
        return sound

    async def put_back(self, letters: Sequence[tuple[Letter, bytes, str]]) -> None:
        """Redrive these; with none, only hold the lock and hear whether to go on."""
        so_far = self.progress
        arguments: list[Argument] = [self._events_stream, self.token, round(_LEASE * 1000)]
        arguments += (so_far.seen, so_far.passed_over)
        for letter, data, options in letters:
            arguments += (letter.where.key, letter.where.score, data, options)
        reply = await self._caller.call("redrive", self._keys, arguments, patience=_PATIENCE)
        state, redriven, statuses = cast("tuple[bytes, int, list[bytes]]", reply)
        if state == b"lost":
            self.is_lost = True
            raise RedriveUnderWayError(
                f"expected to be the only redrive of {self._queue}, but another has begun while Redis did not hear "
                f"from this one for {_LEASE:.0f} s; it goes on with what is left"
            )
        self.is_cancelled = state == b"cancelled"
        self._statuses = tuple(statuses)
        for status in self._statuses:
            if status not in (b"redriven", b"gone"):
                self._faults[status.decode(errors="replace")] += 1
        self.progress = replace(self.progress, redriven=redriven)
        self._note_faults()

    async def pace(self, count: int, rate: float | None) -> None:
        """Wait until so many more may be redriven, and keep the lock meanwhile."""
        if rate is None:
            return
        loop = asyncio.get_running_loop()
        self._due = max(self._due, loop.time()) + count / rate
        while not self.is_cancelled and (left := self._due - loop.time()) > 0:
            await asyncio.sleep(min(left, _SAY_EVERY))
            if left > _SAY_EVERY:
                await self.put_back(())

    def check_the_one(self, job_id: str | None) -> None:
        """Raise why the one letter that was asked for was not redriven, unless that was cancelled."""
        if job_id is None or self.progress.redriven or self.is_cancelled:
            return
        if self._faults:
            (fault,) = self._faults
            remedy = "; give it sound data (hippo failed edit)" if fault == "rejected" else ""
            words = "it was turned away at send, and is no event" if fault == "rejected" else fault
            raise DeadLetterError(f"{job_id} is not redriven: {words}{remedy}")
        raise UnknownDeadLetterError(job_id, (), queue=self._queue, kind="the id of a dead letter")

    def _note_faults(self) -> None:
        """Once for a batch: each letter may have a fault of its own."""
        if (passed_over := self._faults.total()) != self.progress.passed_over:
            self.progress = replace(self.progress, passed_over=passed_over, faults=dict(self._faults))


def _under_way(queue: str, progress: RedriveProgress | None) -> str:
    by = f" by {progress.by}" if progress is not None and progress.by else ""
    return (
        f"the dead letters of {queue} are redriven already{by}: watch it (hippo failed redrive {queue} --status), "
        f"cancel it (--cancel), or try again; where its process was killed, that is over within {_LEASE:.0f} s"
    )


def _progress(flat: Sequence[bytes], *, is_running: bool) -> RedriveProgress | None:
    words = [word.decode(errors="replace") for word in flat]
    found = dict(zip(words[::2], words[1::2], strict=True))
    if not found:
        return None
    state = found.get("state")
    ended: RedriveState = "cancelled" if state == "cancelled" else "done" if state == "done" else "interrupted"
    return RedriveProgress(
        state="running" if is_running else ended,
        redriven=_number(found.get("redriven")),
        passed_over=_number(found.get("passedOver")),
        seen=_number(found.get("seen")),
        total=_number(found["total"]) if "total" in found else None,
        started_at=_time(found.get("startedOn")),
        ended_at=_time(found.get("endedOn")),
        by=found.get("by", ""),
    )


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) <= 15 else 0


def _time(text: str | None) -> datetime | None:
    number = _number(text)
    return datetime.fromtimestamp(number / 1000, UTC) if 0 < number < 10**14 else None
