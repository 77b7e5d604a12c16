"""One BullMQ queue, and the whole of what is done to it: take, route, settle, wait, renew, recover.

Every method that takes many jobs is one script call, atomic and safe to repeat; the scripts say in their headers what
that means for each. All of them wait out an outage of Redis and repeat the call, for as long as they are awaited.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import cast
from uuid import uuid4

from hippo_messenger.errors import EventTooLargeError
from hippo_messenger.queues.call import Argument, Caller
from hippo_messenger.queues.connection import Connection, WaitingLine
from hippo_messenger.queues.layout import Layout, QueueKeys
from hippo_messenger.registration import Registration, Retention

__all__ = ["Order", "Outcome", "Queue", "QueuedJob", "Routed", "Routing", "Settled", "Taken", "event_digest"]

_REASON_LENGTH = 4096
_COMMON_DIGITS = 15
_COMMON_LENGTH = 1024
"""Options up to this length are remembered: most jobs of a queue have the same."""
_JOB_FIELDS = 12
"""An id and what `JOB_FIELDS` in scripts/include/take.lua lists."""


def event_digest(source: str, event_id: str) -> bytes:
    """What the duplicate window knows an event by."""
    return blake2b(f"{source}|{event_id}".encode(), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """One job as it was taken: everything still as Redis has it."""

    id: str
    token: str
    name: str
    data: bytes
    options: bytes
    timestamp: int
    """When it was added, in ms."""
    priority: int
    attempts_made: int
    attempts_started: int
    stalls: int
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
    max_bytes: int = 16 * 1024 * 1024
    worker: str = ""
    """Shown as the job's processor by BullMQ's tools."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a take brought."""

    jobs: tuple[QueuedJob, ...] = ()
    broken: tuple[str, ...] = ()
    """Ids whose job is gone or unreadable; they were put aside."""
    due_in: float | None = None
    """In how many seconds the next delayed job is due."""
    limited_for: float = 0.0
    """For how many seconds the queue's rate limit lets nothing through."""
    more: bool = False
    """More jobs wait."""


@dataclass(frozen=True, slots=True)
class Outcome:
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


@dataclass(frozen=True, slots=True)
class Routing:
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


class Queue:
    """One service's queue, or the broker's."""

    def __init__(
        self,
        connection: Connection,
        keys: QueueKeys,
        *,
        caller: Caller,
        events_stream: bool = True,
        metrics_minutes: int = 0,
    ) -> None:
        self._connection = connection
        self._keys = keys
        self._caller = caller
        self._events_stream = b"1" if events_stream else b"0"
        self._metrics_minutes = metrics_minutes
        self._waiting: WaitingLine | None = None
        self._instance = uuid4().hex
        self._tokens = itertools.count(1)

    @property
    def name(self) -> str:
        """The queue's name."""
        return self._keys.queue

    async def take(self, order: Order) -> Taken:
        """Up to `order.count` jobs, each locked with one token of this call; fewer when their bytes reach the limit."""
        token = self._token()
        reply = await self._call("take", self._keys.all, self._order(token, order))
        return _taken(token, reply[0])

    async def settle(self, outcomes: Sequence[Outcome], order: Order) -> Settled:
        """End jobs, each in its own way, and take the next. A job that was lost meanwhile is left to who holds it."""
        token = self._token()
        arguments = self._order(token, order)
        for outcome in outcomes:
            words = (_writable(outcome.value), outcome.stacktrace)
            arguments += (outcome.kind, outcome.job.key, outcome.job.token, *words)
            arguments += (outcome.number, *_keep(outcome.keep))
        reply = await self._call("settle", self._keys.all, arguments)
        return Settled(statuses=_texts(reply[1]), taken=_taken(token, reply[0]))

    async def route(
        self,
        routings: Sequence[Routing],
        order: Order,
        *,
        layout: Layout,
        version: int,
        window: float,
        keep: Retention,
    ) -> Routed:
        """Finish the broker's jobs and add one copy for each listening service, all or none of an event; take the next.

        Nothing is done, and `stale` says so, when the registry is at another version than these routings came from.
        """
        token = self._token()
        services = tuple({entry.service: entry for routing in routings for entry in routing.services}.values())
        keys = [*self._keys.all, layout.registry_version, layout.seen]
        arguments = [*self._order(token, order), version, math.ceil(window * 1000), *_keep(keep), len(services)]
        for entry in services:
            keys += layout.queue(entry.service).all
            arguments += (entry.service, entry.job_options)
        places = {entry.service: place for place, entry in enumerate(services, start=1)}
        grouped = _by_services(routings)
        for names, group in grouped.items():
            arguments += (len(names), *(places[name] for name in names), _delivered_to(names), len(group))
            for routing in group:
                arguments += (routing.job.key, routing.job.token, routing.event_id, routing.digest, routing.extra)
        reply = await self._call("route", keys, arguments)
        if reply[0] == b"stale":
            return Routed(stale=True)
        in_order = [routing.job.id for group in grouped.values() for routing in group]
        by_job = dict(zip(in_order, _texts(reply[1]), strict=True))
        return Routed(
            stale=False,
            statuses=tuple(by_job[routing.job.id] for routing in routings),
            parked=tuple(Parked(*parked) for parked in _triples(_texts(reply[2]))),
            taken=_taken(token, reply[0]),
        )

    async def wait(self, timeout: float) -> bool:
        """Wait until a job may be there, or so many seconds; True when one may be.

        Takes the marker that BullMQ's adders leave; `wake` gives it back where it turns out to be of no use.
        """
        marker = await (await self._line()).block("BZPOPMIN", self._keys.marker, timeout=timeout)
        return marker is not None

    async def show_up(self) -> None:
        """Be among the workers that BullMQ's getWorkers() finds: it looks for the connection that waits, by its name.

        Without it a worker that has had something to do ever since it started would be missing there.
        """
        await (await self._line()).connect(self._keys.marker)

    async def leave(self) -> None:
        """Be no more among them; may be called again."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            await waiting.close()

    async def _line(self) -> WaitingLine:
        if self._waiting is None:
            self._waiting = await self._connection.waiting_line(client_name=self._keys.worker_client_name)
        return self._waiting

    async def wake(self) -> None:
        """Wake one idle worker of this queue."""
        await self._connection.execute("ZADD", self._keys.marker, 0, "0")

    async def log(self, job: QueuedJob, line: str) -> None:
        """Add a line to a job's log."""
        await self._note(job, "log", _writable(line))

    async def update_progress(self, job: QueuedJob, progress: bytes) -> None:
        """Replace a job's progress, and tell who follows the events stream; `progress` is JSON."""
        await self._note(job, "progress", progress)

    async def _note(self, job: QueuedJob, kind: str, words: bytes) -> None:
        key = self._keys.base.encode() + job.key
        keys = (key, key + b":logs", self._keys.base + "events")
        await self._call("note", keys, [kind, job.key, words, self._events_stream])

    async def renew(self, jobs: Iterable[QueuedJob], *, lock: float) -> tuple[str, ...]:
        """Hold these jobs for so many seconds more; the ids of those that are lost."""
        arguments: list[Argument] = [math.ceil(lock * 1000)]
        for job in jobs:
            arguments += (job.key, job.token)
        return _texts((await self._call("renew", self._keys.all, arguments))[0])

    async def recover(self, *, interval: float, max_stalls: int) -> tuple[str, ...]:
        """Put back the jobs of workers that died, at most once in `interval` seconds over all workers; their ids."""
        # A little shorter than the interval, so that the next check of a lone worker doesn't find this one fresh.
        fresh = math.floor(interval * 900)
        keys = (*self._keys.all, self._keys.stalled_check, self._keys.scheduler)
        return _texts((await self._call("recover", keys, [self._events_stream, max_stalls, fresh]))[0])

    async def pause_at(self, limit: int) -> bool:
        """Pause the queue if it holds so many failed jobs; True if that has happened now."""
        return bool((await self._call("limit", self._keys.all, [self._events_stream, limit]))[0])

    async def _call(self, script: str, keys: Sequence[str | bytes], arguments: Sequence[Argument]) -> list[object]:
        return await self._caller.call(script, keys, arguments, patience=None)

    def _token(self) -> str:
        return f"{self._instance}:{next(self._tokens)}"

    def _order(self, token: str, order: Order) -> list[Argument]:
        lock = math.ceil(order.lock * 1000)
        taking: list[Argument] = [self._events_stream, token, lock, order.count, order.max_bytes, order.worker]
        return [*taking, self._metrics_minutes]


def _read_options(raw: bytes) -> Mapping[str, object]:
    try:
        options = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return options if isinstance(options, dict) else {}


_read_common_options = lru_cache(maxsize=64)(_read_options)


def _keep(keep: Retention) -> tuple[Argument, Argument]:
    return "" if keep.age is None else keep.age, "" if keep.count is None else keep.count


def _by_services(routings: Iterable[Routing]) -> dict[tuple[str, ...], list[Routing]]:
    groups: dict[tuple[str, ...], list[Routing]] = {}
    for routing in routings:
        groups.setdefault(tuple(entry.service for entry in routing.services), []).append(routing)
    return groups


def _delivered_to(names: Iterable[str]) -> str:
    return '{"deliveredTo":[' + ",".join(f'"{name}"' for name in names) + "]}"


def _writable(words: str | bytes) -> bytes:
    """Text that came from elsewhere as Redis takes it: half of a surrogate pair has no UTF-8."""
    return words.encode(errors="backslashreplace") if isinstance(words, str) else words


def _texts(values: object) -> tuple[str, ...]:
    return tuple(value.decode(errors="surrogateescape") for value in cast("list[bytes]", values))


def _triples(values: Sequence[str]) -> Iterable[tuple[str, str, str]]:
    return zip(values[::3], values[1::3], values[2::3], strict=True)


def _taken(token: str, reply: object) -> Taken:
    flat, broken, due_in, limited_for, more = cast("tuple[list[bytes | None], list[bytes], int, int, int]", reply)
    return Taken(
        jobs=tuple(_job(token, flat[at : at + _JOB_FIELDS]) for at in range(0, len(flat), _JOB_FIELDS)),
        broken=_texts(broken),
        due_in=due_in / 1000 if due_in >= 0 else None,
        limited_for=limited_for / 1000,
        more=bool(more),
    )


def _job(token: str, fields: Sequence[bytes | None]) -> QueuedJob:
    job_id, name, data, options, timestamp, priority, made, started, stalls, deferred, scheduler, stacktrace = fields
    return QueuedJob(
        id=_text(job_id),
        token=token,
        name=_text(name),
        data=data or b"",
        options=options or b"{}",
        timestamp=_number(timestamp),
        priority=_number(priority),
        attempts_made=_number(made),
        attempts_started=_number(started),
        stalls=_number(stalls),
        deferred_failure=None if deferred is None else _text(deferred),
        scheduler=None if scheduler is None else _text(scheduler),
        stacktrace=stacktrace,
    )


def _text(value: bytes | None) -> str:
    return (value or b"").decode(errors="surrogateescape")


def _number(value: bytes | None) -> int:
    if value is None:
        return 0
    if value.isdigit() and len(value) <= _COMMON_DIGITS:
        return int(value)
    try:
        return int(float(value or 0))
    except (ValueError, OverflowError):
        return 0
