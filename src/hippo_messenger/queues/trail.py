"""What is happening: BullMQ's events streams of many queues, read as the steps that events take."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, cast

from hippo_messenger.queues.connection import Connection, WaitingLine
from hippo_messenger.queues.layout import BROKER_QUEUE, Layout
from hippo_messenger.registration import REGISTRATION_JOB

__all__ = ["Step", "StepKind", "Trail"]

StepKind = Literal[
    "sent",
    "routed",
    "unrouted",
    "duplicate",
    "expired",
    "rejected",
    "failed",
    "registered",
    "processed",
    "retry",
    "dead",
    "stalled",
    "paused",
    "resumed",
]

_AT_A_TIME = 200
_EXPIRED = re.compile(r'\{"expired":"[0-9TZ:.+-]+"\}')
"""The result of a job that was not processed; a processor's own is not likely to look like that."""
_BLOCK = 1.0
_LAST_TIME = datetime(9999, 12, 31, tzinfo=UTC).timestamp()
_BEFORE = 1000
"""How long (ms) before its job completes a service that registers is followed from: its routes are live by then."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened to one event, or to a queue."""

    time: datetime
    queue: str
    kind: StepKind
    event_id: str
    event_type: str
    """Empty where the job is gone already."""
    origin: str
    services: tuple[str, ...] = ()
    """Of a routed event: who got a copy."""
    detail: str = ""
    """Why it failed, or what the processor returned."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry of an events stream."""

    queue: str
    time: datetime
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Job:
    """What is to be known of the job that an entry is about."""

    id: str
    name: bytes | None
    """None where the job is gone already, and so are the others."""
    data: bytes | None
    options: bytes | None
    started: bytes | None
    """How often it was taken; None where it never was."""

    @property
    def event_type(self) -> str:
        return (self.name or b"").decode(errors="replace")

    @property
    def is_rejected(self) -> bool:
        """Whether it is the record of a rejected event; one that made room already is known by its id alone."""
        if self.options is None:
            return self.id.startswith("rejected-")
        found = _json(self.options.decode(errors="replace"))
        return isinstance(found, dict) and found.get("rejected") is True

    @property
    def is_fresh(self) -> bool:
        """Whether it stands there and was never taken."""
        return self.name is not None and self.started is None


class Trail:
    """Follows the queues of some services, and the broker's, from now on; also those that register later, if asked to.

    It sees what stands in BullMQ's events streams: nothing where `events_stream` is off, and not everything where more
    happens at once than a stream holds (10,000 entries unless somebody has set another length).
    """

    def __init__(self, connection: Connection, layout: Layout, *, queues: Sequence[str], new_ones_too: bool) -> None:
        self._connection = connection
        self._layout = layout
        self._new_ones_too = new_ones_too
        self._after: dict[str, str] = {}
        self._streams = {self._stream_of(queue): queue for queue in (BROKER_QUEUE, *queues)}

    async def start(self) -> None:
        """Note where the streams end now: what comes later is followed.

        Raises:
            RedisError: The streams can't be read.
        """
        self._after = {stream: await self._last_id(stream) for stream in self._streams}

    async def follow(self) -> AsyncIterator[Step]:
        """Every step since `start`, as it happens, for as long as one listens.

        Raises:
            RedisError: The streams can't be read.
        """
        line = await self._connection.waiting_line(client_name="hippo-trail")
        while True:
            entries = await self._next(line, self._after)
            for step in await asyncio.gather(*(self._step(entry) for entry in entries)):
                if step is not None:
                    if step.kind == "registered" and self._new_ones_too:
                        self._follow_too(step.origin, since=step.time)
                    yield step

    def _follow_too(self, queue: str, *, since: datetime) -> None:
        stream = self._stream_of(queue)
        if stream not in self._streams:
            self._streams[stream] = queue
            self._after[stream] = f"{round(since.timestamp() * 1000) - _BEFORE}-0"

    def _stream_of(self, queue: str) -> str:
        return self._layout.queue(queue).base + "events"

    async def _last_id(self, stream: str) -> str:
        newest = cast("list[list[bytes]]", await self._connection.execute("XREVRANGE", stream, "+", "-", "COUNT", 1))
        return newest[0][0].decode() if newest else "0-0"

    async def _next(self, line: WaitingLine, after: dict[str, str]) -> list[_Entry]:
        reply = await line.read_streams(after, count=_AT_A_TIME, timeout=_BLOCK)
        found: list[_Entry] = []
        for stream, entries in _by_stream(reply):
            for entry_id, flat in entries:
                after[stream] = entry_id.decode()
                found.append(_Entry(self._streams[stream], _time_of(after[stream]), _pairs(flat)))
        return sorted(found, key=lambda entry: entry.time)

    async def _step(self, entry: _Entry) -> Step | None:
        decided = _decide(entry)
        if decided is None:
            return None
        kind, services, detail = decided
        if kind in ("paused", "resumed"):
            return Step(entry.time, entry.queue, kind, "", "", "")
        job = await self._job(entry)
        if job.event_type == REGISTRATION_JOB:
            return _of_registration(entry, kind, job)
        told = _of_job(kind, job)
        if told is None:
            return None
        return Step(entry.time, entry.queue, told, job.id, job.event_type, _source(job.data), services, detail)

    async def _job(self, entry: _Entry) -> _Job:
        job_id = entry.fields.get("jobId", "")
        key = self._layout.queue(entry.queue).job(job_id)
        found = await self._connection.execute("HMGET", key, "name", "data", "opts", "ats")
        return _Job(job_id, *cast("Sequence[bytes | None]", found))


def _decide(entry: _Entry) -> tuple[StepKind, tuple[str, ...], str] | None:
    """What an entry of BullMQ's events stream means to us, or nothing."""
    fields = entry.fields
    match fields.get("event"), entry.queue == BROKER_QUEUE:
        case "added", True:
            return "sent", (), ""
        case "completed", True:
            return _of_routing(fields.get("returnvalue", ""))
        case "failed", True:
            return "failed", (), fields.get("failedReason", "")
        case "completed", False:
            return _of_processing(fields.get("returnvalue", ""))
        case "failed", False:
            return "dead", (), fields.get("failedReason", "")
        case "delayed" | "waiting", False:
            return ("retry", (), "") if fields.get("prev") == "active" or "delay" in fields else None
        case "stalled", _:
            return "stalled", (), ""
        case "paused", _:
            return "paused", (), ""
        case "resumed", _:
            return "resumed", (), ""
    return None


def _of_routing(returned: str) -> tuple[StepKind, tuple[str, ...], str]:
    found = _json(returned)
    if not isinstance(found, dict):
        return "routed", (), ""
    if found.get("duplicate"):
        return "duplicate", (), ""
    if "expired" in found:
        return "expired", (), str(found["expired"])
    services = _names(found.get("deliveredTo"))
    parked_for = ", ".join(_names(found.get("parkedFor")))
    if not services and not parked_for and "deliveredTo" in found:
        return "unrouted", (), ""
    return "routed", services, f"parked for {parked_for}" if parked_for else ""


def _of_processing(returned: str) -> tuple[StepKind, tuple[str, ...], str]:
    found = _json(returned) if _EXPIRED.fullmatch(returned) else None
    if isinstance(found, dict):
        return "expired", (), str(found["expired"])
    return "processed", (), "" if returned == "null" else returned


def _of_job(kind: StepKind, job: _Job) -> StepKind | None:
    """What an entry means, now that its job is known, or nothing."""
    if kind == "failed" and job.is_rejected:
        return "rejected"
    if kind == "dead" and job.is_rejected:  # the sender's own record; the broker's says the same
        return None
    if kind == "retry" and job.is_fresh:  # the sender's own copy, sent with a delay
        return None
    return kind


def _of_registration(entry: _Entry, kind: StepKind, job: _Job) -> Step | None:
    if kind not in ("routed", "failed"):
        return None
    found = _json((job.data or b"").decode(errors="replace"))
    service = str(found.get("serviceName", "")) if isinstance(found, dict) else ""
    listens_to = ", ".join(_names(found.get("listensTo"))) if isinstance(found, dict) else ""
    told: StepKind = "registered" if kind == "routed" else "failed"
    reason = entry.fields.get("failedReason", "")
    return Step(entry.time, entry.queue, told, job.id, REGISTRATION_JOB, service, (), reason or listens_to)


def _names(value: object) -> tuple[str, ...]:
    """What should be a list of names; whatever else somebody has put there names nobody."""
    return tuple(str(name) for name in value) if isinstance(value, list) else ()


def _by_stream(reply: object) -> list[tuple[str, list[tuple[bytes, list[bytes]]]]]:
    """XREAD's reply, a list in RESP2 and a map in RESP3."""
    found = list(reply.items()) if isinstance(reply, dict) else cast("list[tuple[bytes, object]]", reply or [])
    return [(stream.decode(), cast("list[tuple[bytes, list[bytes]]]", entries)) for stream, entries in found]


def _pairs(flat: Sequence[bytes]) -> dict[str, str]:
    words = [word.decode(errors="replace") for word in flat or ()]
    return dict(zip(words[::2], words[1::2], strict=False))


def _time_of(entry_id: str) -> datetime:
    """When an entry was added; its id is no time where its writer has chosen it."""
    return datetime.fromtimestamp(min(int(entry_id.partition("-")[0]) / 1000, _LAST_TIME), UTC)


def _source(data: bytes | None) -> str:
    found = _json((data or b"").decode(errors="replace"))
    return str(found.get("source", "")) if isinstance(found, dict) else ""


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
