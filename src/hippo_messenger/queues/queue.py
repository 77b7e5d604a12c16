"""One BullMQ queue, and the whole of what is done to it: take, route, settle, wait, renew, recover.

Every method that takes many jobs is one script call, atomic and safe to repeat; the scripts say in their headers what
that means for each. All of them wait out an outage of Redis and repeat the call, for as long as they are awaited.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from operator import attrgetter
from typing import Any, cast
from uuid import uuid4

from hippo_messenger.queues.call import Argument, Caller
from hippo_messenger.queues.connection import Connection, WaitingLine
from hippo_messenger.queues.delivery import Order, Outcome, Parked, QueuedJob, Routed, Routing, Settled, Taken
from hippo_messenger.queues.layout import Layout, QueueKeys
from hippo_messenger.registration import Registration, Retention

__all__ = ["Queue", "event_digest"]

_COMMON_DIGITS = 15
_MOST_LINES = 2**31
"""Of a log; a limit beyond it is none."""
_JOB_FIELDS = 6
"""What `flat` in scripts/include/take.lua says of each job."""
_ENDING = attrgetter("kind", "job.token", "value", "stacktrace", "number", "keep")
"""What jobs that end alike share; scripts/settle.lua takes it once for all of them."""
_FIRST_TRY: tuple[int, int, None, None, None] = (0, 1, None, None, None)
"""What its `history` leaves out."""


def event_digest(source: str, event_id: str) -> bytes:
    """What the duplicate window knows an event by."""
    return blake2b(f"{source}|{event_id}".encode(), digest_size=16).digest()


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
        self._events_stream = int(events_stream)
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
        return _taken(token, reply[0], order)

    async def settle(self, outcomes: Sequence[Outcome], order: Order) -> Settled:
        """End jobs, each in its own way, and take the next. A job that was lost meanwhile is left to who holds it."""
        token = self._token()
        arguments = self._order(token, order)
        for (kind, held_by, value, stacktrace, number, keep), run in itertools.groupby(outcomes, key=_ENDING):
            ids = [outcome.job.key for outcome in run]
            arguments += (kind, held_by, _writable(value), stacktrace, number, *_keep(keep), len(ids), *ids)
        reply = await self._call("settle", self._keys.all, arguments)
        return Settled(statuses=_texts(reply[1]), taken=_taken(token, reply[0], order))

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
        arguments += _routes(routings, services)
        reply = await self._call("route", keys, arguments)
        if reply[0] == b"stale":
            return Routed(stale=True)
        return Routed(
            stale=False,
            statuses=_texts(reply[1]),
            parked=tuple(Parked(*parked) for parked in _triples(_texts(reply[2]))),
            taken=_taken(token, reply[0], order),
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

    async def log(self, job: QueuedJob, line: str, *, patience: float) -> None:
        """Add a line to a job's log, which keeps as many as the job's options say, or all.

        `patience` as for `Caller.call`: it is never worth what the job itself is, and waits for Redis no longer.
        """
        keep = job.read_options.get("kl")  # so BullMQ stores `keepLogs`
        limit = keep if isinstance(keep, int) and not isinstance(keep, bool) and 0 < keep <= _MOST_LINES else ""
        await self._note(job, "log", _writable(line), keep=limit, patience=patience)

    async def update_progress(self, job: QueuedJob, progress: bytes, *, patience: float) -> None:
        """Replace a job's progress, and tell who follows the events stream; `progress` is JSON, `patience` as above."""
        await self._note(job, "progress", progress, patience=patience)

    async def _note(self, job: QueuedJob, kind: str, words: bytes, *, keep: int | str = "", patience: float) -> None:
        key = self._keys.base.encode() + job.key
        keys = (key, key + b":logs", self._keys.base + "events")
        arguments: list[Argument] = [kind, job.key, words, self._events_stream, keep]
        await self._caller.call("note", keys, arguments, patience=patience)

    async def renew(self, jobs: Sequence[QueuedJob], *, lock: float) -> list[QueuedJob]:
        """Hold these jobs for so many seconds more; those of them that are lost, which another take may hold by now."""
        arguments: list[Argument] = [math.ceil(lock * 1000)]
        for job in jobs:
            arguments += (job.key, job.token)
        places = cast("list[int]", (await self._call("renew", self._keys.all, arguments))[0])
        return [jobs[place - 1] for place in places]

    async def recover(self, *, interval: float, max_stalls: int) -> tuple[tuple[str, ...], float]:
        """Put back the jobs of workers that died; their ids, and how long (s) nobody need look again.

        Only once in `interval` seconds, over all workers.
        """
        # A little shorter than the interval, since whoever looks next is woken a little late.
        fresh = math.floor(interval * 900)
        keys = (*self._keys.all, self._keys.stalled_check, self._keys.scheduler)
        ids, fresh_for = await self._call("recover", keys, [self._events_stream, max_stalls, fresh])
        left = cast("int", fresh_for) / 1000  # negative where somebody has given it no time, or it is over by now
        return _texts(ids), min(left, interval) if left >= 0 else interval / 10

    async def pause_at(self, limit: int, *, rejected: str, patience: float) -> bool:
        """Pause the queue if it holds so many dead letters; True if that has happened now.

        `rejected` is the key of its records of rejected events, which are none; `patience` as for `Caller.call`.
        """
        keys = (*self._keys.all, rejected)
        return bool((await self._caller.call("pause_at", keys, [self._events_stream, limit], patience=patience))[0])

    async def _call(self, script: str, keys: Sequence[str | bytes], arguments: Sequence[Argument]) -> list[object]:
        return await self._caller.call(script, keys, arguments, patience=None)

    def _token(self) -> str:
        return f"{self._instance}:{next(self._tokens)}"

    def _order(self, token: str, order: Order) -> list[Argument]:
        lock = math.ceil(order.lock * 1000)
        taking: list[Argument] = [self._events_stream, token, lock, order.count, order.max_bytes, order.worker]
        return [*taking, self._metrics_minutes]


def _keep(keep: Retention) -> tuple[Argument, Argument]:
    return "" if keep.age is None else keep.age, "" if keep.count is None else keep.count


def _routes(routings: Sequence[Routing], services: Sequence[Registration]) -> list[Argument]:
    """Where events go, as scripts/route.lua wants it: the sets of routes, then runs of events that share one."""
    places = {entry.service: place for place, entry in enumerate(services, start=1)}
    sets: dict[tuple[str, ...], int] = {}
    runs: list[Argument] = []
    for (entries, token, extra), alike in itertools.groupby(routings, key=_run):
        events = list(alike)
        place = sets.setdefault(tuple(entry.service for entry in entries), len(sets) + 1)
        runs += (place, token, extra, len(events))
        for routing in events:
            event_id = "" if routing.event_id == routing.job.id else routing.event_id
            runs += (routing.job.key, event_id, routing.digest)
    arguments: list[Argument] = [len(sets)]
    for names in sets:
        arguments += (len(names), *(places[name] for name in names), _delivered_to(names))
    return arguments + runs


def _run(routing: Routing) -> tuple[tuple[Registration, ...], str, str]:
    return routing.services, routing.job.token, routing.extra


def _delivered_to(names: Iterable[str]) -> str:
    return '{"deliveredTo":[' + ",".join(f'"{name}"' for name in names) + "]}"


def _writable(words: str | bytes) -> bytes:
    """Text that came from elsewhere as Redis takes it: half of a surrogate pair has no UTF-8."""
    return words.encode(errors="backslashreplace") if isinstance(words, str) else words


def _texts(values: object) -> tuple[str, ...]:
    return tuple([value.decode(errors="surrogateescape") for value in cast("list[bytes]", values)])


def _triples(values: Sequence[str]) -> Iterable[tuple[str, str, str]]:
    return zip(values[::3], values[1::3], values[2::3], strict=True)


def _taken(token: str, reply: object, order: Order) -> Taken:
    flat, broken, due_in, limited_for, more = cast("tuple[list[Any], list[bytes], int, int, int]", reply)
    return Taken(
        jobs=tuple([_job(token, *flat[at : at + _JOB_FIELDS]) for at in range(0, len(flat), _JOB_FIELDS)]),
        broken=_texts(broken),
        due_in=due_in / 1000 if due_in >= 0 else None,
        limited_for=limited_for / 1000,
        more=bool(more),
        looked=order.count > 0,
    )


def _job(
    token: str,
    job_id: bytes,
    name: bytes,
    data: bytes,
    options: bytes | None,
    timestamp: bytes | None,
    history: list[bytes | None] | None,
) -> QueuedJob:
    earlier = _FIRST_TRY if history is None else _read_history(*history)
    return QueuedJob(_text(job_id), token, _text(name), data, options or b"{}", _number(timestamp), *earlier)


def _read_history(
    made: bytes | None, started: bytes | None, deferred: bytes | None, scheduler: bytes | None, stacktrace: bytes | None
) -> tuple[int, int, str | None, str | None, bytes | None]:
    """What a job has from earlier tries, as the last fields of `QueuedJob`."""
    return (
        _number(made),
        _number(started),
        None if deferred is None else _text(deferred),
        None if scheduler is None else _text(scheduler),
        stacktrace,
    )


def _text(value: bytes) -> str:
    return value.decode(errors="surrogateescape")


def _number(value: bytes | None) -> int:
    if value is None:
        return 0
    if value.isdigit() and len(value) <= _COMMON_DIGITS:
        return int(value)
    try:
        return int(float(value or 0))
    except (ValueError, OverflowError):
        return 0
