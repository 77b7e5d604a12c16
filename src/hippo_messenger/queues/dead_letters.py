"""The dead letters of one queue: looked at by group or one by one, discarded, exported and put back.

Reading goes page by page, in calls that are short however many there are. What fails while a pass is under way is not
part of it. Every call may be repeated.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import cast
from uuid import uuid4

from hippo_messenger.errors import DeadLetterError, UnknownDeadLetterError
from hippo_messenger.observer import Observer
from hippo_messenger.queues.call import Argument, Caller
from hippo_messenger.queues.connection import Connection
from hippo_messenger.queues.layout import Layout
from hippo_messenger.queues.letter import Letter, LetterId
from hippo_messenger.queues.letter_group import Grouping, LetterGroup
from hippo_messenger.settings import Settings

__all__ = ["DeadLetters", "Discarded", "Selection"]

_PATIENCE = 30.0
"""For how long (s) a call is repeated while Redis is away."""
_PAGE = 200
_PAGE_BYTES = 4 * 1024 * 1024
_RESTORE_BYTES = 1024 * 1024
_DISCARD_AT_A_TIME = 100
_GROUPING_FIELDS = ("name", "failedReason", "stacktrace")
_LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class Selection:
    """Which dead letters are meant: one by its id, a group, or all."""

    job_id: str | None = None
    group: str | None = None
    rejected: bool | None = None
    """Only the records of rejected events, or none of these; None is both."""

    def takes(self, where: LetterId) -> bool:
        """Whether one is meant, as far as can be said without reading it."""
        return self.rejected is None or self.rejected == where.is_rejected


@dataclass(frozen=True, slots=True)
class Discarded:
    """What was discarded."""

    count: int
    """By this act."""
    total: int
    """From this queue ever."""


class DeadLetters:
    """Looks at the dead letters of one queue, and lets go of them or takes them back."""

    def __init__(self, connection: Connection, *, queue: str, settings: Settings) -> None:
        self._layout = Layout(settings.prefix)
        self._queue = queue
        self._keys = self._layout.queue(queue)
        self._events_stream = int(settings.events_stream)
        self._connection = connection
        self._caller = Caller(connection, observer=Observer())

    @property
    def queue(self) -> str:
        """The queue's name."""
        return self._queue

    async def groups(self) -> Sequence[LetterGroup]:
        """The dead letters by the kind of their failure, the largest group first, rejected events last.

        Raises:
            RedisError: They could not be read.
        """
        grouping = Grouping()
        async for page in self.pages(Selection(), fields=()):
            for letter in page:
                grouping.add(letter)
        return grouping.groups()

    async def letter(self, job_id: str) -> Letter:
        """One dead letter, whole.

        Raises:
            UnknownDeadLetterError: None has this id.
        """
        (letter,) = await self._read([await self._where(job_id)], fields=(), with_logs=True)
        return letter

    async def pages(
        self, selection: Selection, *, fields: Sequence[str] | None, with_logs: bool = False
    ) -> AsyncIterator[Sequence[Letter]]:
        """The selected dead letters, the oldest first, page by page; where none of a page is of the group it is empty.

        Args:
            selection: Which of them.
            fields: What is to be read of each beside what its group is known by; None reads nothing where a group is
                not asked for, `("*",)` everything.
            with_logs: Read their logs too.

        Raises:
            UnknownDeadLetterError: None has the id, or is of the group.
        """
        wanted = () if fields == ("*",) else (*_GROUPING_FIELDS, *(fields or ()))
        known: set[str] = set()
        is_found = False
        async for page in self._where_pages(selection):
            if fields is None and selection.group is None:
                yield [Letter(where, {}) for where in page]
                continue
            left = list(page)
            while left:
                letters = await self._read(left, fields=wanted, with_logs=with_logs)
                left = left[len(letters) :]  # one is read at the least
                if selection.group is not None:
                    known.update(letter.fingerprint.group for letter in letters)
                    letters = [letter for letter in letters if letter.fingerprint.group == selection.group]
                is_found = is_found or bool(letters)
                yield letters
        if selection.group is not None and not is_found:
            raise UnknownDeadLetterError(
                selection.group, known, queue=self._queue, kind="the group of some dead letters"
            )

    async def discard(
        self, selection: Selection, *, reason: str, keep: Callable[[Sequence[Letter]], None] | None = None
    ) -> Discarded:
        """Remove dead letters for good.

        Args:
            selection: Which of them.
            reason: Why; it is kept with their number in the queue's record, the newest 1,000 acts.
            keep: Called with letters, whole, before these are removed; should it raise, they stay.

        Raises:
            DeadLetterError: The reason is empty or too long.
            UnknownDeadLetterError: None has the id, or is of the group.
        """
        reason = " ".join(reason.split())
        if not reason or len(reason) > _LONGEST_REASON:
            raise DeadLetterError(
                f"expected a reason of 1 to {_LONGEST_REASON} characters, got {len(reason)}: say why nobody needs them"
            )
        act, discarded = uuid4().hex, Discarded(0, 0)
        async for page in self.pages(selection, fields=None if keep is None else ("*",), with_logs=True):
            for first in range(0, len(page), _DISCARD_AT_A_TIME):
                batch = page[first : first + _DISCARD_AT_A_TIME]
                if keep is not None:
                    keep(batch)
                discarded = await self._discard(act, reason, [letter.where for letter in batch])
        return discarded

    async def restore(self, letters: Sequence[Letter]) -> Sequence[bool]:
        """Put exported dead letters back, for each whether it was; one whose id is taken is left as it is.

        Raises:
            RedisError: They could not be written; those of an earlier call within may be.
        """
        restored: list[bool] = []
        for batch in _in_batches(letters):
            arguments: list[Argument] = [self._events_stream]
            for letter in batch:
                arguments += _restoring(letter)
            (statuses,) = await self._call("restore", arguments)
            restored += [status == b"restored" for status in cast("list[bytes]", statuses)]
        return restored

    async def count(self) -> int:
        """How many there are, without the records of rejected events.

        Raises:
            RedisError: They could not be counted.
        """
        failed = await self._connection.execute("ZCARD", self._keys.base + "failed")
        records = await self._connection.execute(
            "ZINTER", 2, self._keys.base + "failed", self._layout.rejected(self._queue)
        )
        return max(cast("int", failed) - len(cast("list[bytes]", records)), 0)

    async def _where(self, job_id: str) -> LetterId:
        _, found = await self._ids("-inf", "+inf", 0, job_id)
        if not found:
            _, oldest = await self._ids("-inf", "+inf", _PAGE)
            known = [where.id for where in oldest]
            raise UnknownDeadLetterError(job_id, known, queue=self._queue, kind="the id of a dead letter")
        return found[0]

    async def _where_pages(self, selection: Selection) -> AsyncIterator[Sequence[LetterId]]:
        if selection.job_id is not None:
            yield [await self._where(selection.job_id)]
            return
        lowest, highest, seen = "-inf", "", set[str]()
        while True:
            # Those of the last millisecond are asked for again: some of it may have been left out.
            now, page = await self._ids(lowest, highest or "+inf", len(seen) + _PAGE)
            highest = highest or str(now)
            fresh = [where for where in page if where.id not in seen]
            if not fresh:
                return
            last = fresh[-1].score
            seen = {where.id for where in fresh if where.score == last} | (seen if last == lowest else set())
            lowest = last
            if taken := [where for where in fresh if selection.takes(where)]:
                yield taken

    async def _ids(self, lowest: str, highest: str, count: int, *ids: str) -> tuple[int, list[LetterId]]:
        named = (one.encode(errors="surrogateescape") for one in ids)
        now, flat = await self._call("letter_ids", [lowest, highest, count, *named])
        words = cast("list[bytes]", flat)
        found = [
            LetterId(words[at].decode(errors="surrogateescape"), words[at + 1].decode(), bool(words[at + 2]))
            for at in range(0, len(words), 3)
        ]
        return cast("int", now), found

    async def _read(self, where: Sequence[LetterId], *, fields: Sequence[str], with_logs: bool) -> list[Letter]:
        """As many of them, in this order, as one call may read; at least one."""
        arguments: list[Argument] = [_PAGE_BYTES, int(with_logs), len(fields), *fields]
        arguments += [one.key for one in where]
        (found,) = await self._caller.call("letters", self._keys.all, arguments, patience=_PATIENCE)
        read = cast("list[tuple[list[bytes], list[bytes]]]", found)
        return [Letter(one, _pairs(flat), tuple(logs)) for one, (flat, logs) in zip(where, read, strict=False)]

    async def _discard(self, act: str, reason: str, where: Sequence[LetterId]) -> Discarded:
        keys = (*self._keys.all, self._layout.rejected(self._queue), self._layout.discarded(self._queue))
        arguments: list[Argument] = [self._events_stream, act, reason.encode(errors="backslashreplace")]
        for one in where:
            arguments += (one.key, one.score)
        count, total = await self._caller.call("discard", keys, arguments, patience=_PATIENCE)
        return Discarded(cast("int", count), cast("int", total))

    async def _call(self, script: str, arguments: Sequence[Argument]) -> list[object]:
        keys = (*self._keys.all, self._layout.rejected(self._queue))
        return await self._caller.call(script, keys, arguments, patience=_PATIENCE)


def _pairs(flat: Sequence[bytes]) -> dict[str, bytes]:
    names = (name.decode(errors="surrogateescape") for name in flat[::2])
    return dict(zip(names, flat[1::2], strict=True))


def _restoring(letter: Letter) -> list[Argument]:
    words = [word for name, value in letter.fields.items() for word in (name.encode(errors="surrogateescape"), value)]
    rejected = "1" if letter.where.is_rejected else ""
    return [letter.where.key, letter.where.score, rejected, len(words), *words, len(letter.logs), *letter.logs]


def _in_batches(letters: Iterable[Letter]) -> Iterable[list[Letter]]:
    """Batches that are short calls, however large the letters are."""
    batch: list[Letter] = []
    size = 0
    for letter in letters:
        weight = sum(map(len, letter.fields.values())) + sum(map(len, letter.logs))
        if batch and (len(batch) >= _PAGE or size + weight > _RESTORE_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(letter)
        size += weight
    if batch:
        yield batch
