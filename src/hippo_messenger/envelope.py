"""The wire format: one event as CloudEvents 1.0 structured JSON. Nothing else knows its keys."""

from __future__ import annotations

import json
import math
import os
import re
import time as clock
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from hippo_messenger.catalogue.numbers import may_be_infinite
from hippo_messenger.errors import InvalidEnvelopeError, InvalidEventIdError

__all__ = [
    "Envelope",
    "Wire",
    "check_event_id",
    "decode",
    "encode",
    "is_finite",
    "new_event_id",
    "wire_time",
    "with_expiry",
]

_EVENT_ID = re.compile(r"(?![0-9]*\Z)[A-Za-z0-9_-]{16,64}")
_PLAIN = re.compile(r"[A-Za-z0-9_-]*")
"""What needs no escaping in JSON."""
_RFC_3339 = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})", re.ASCII)
_SHOWN = 60
_RESERVED_IDS = frozenset({"waiting-children"})
"""The suffixes of BullMQ's own keys that are long enough to be taken for an event id."""


class Envelope(NamedTuple):
    """One event as it came over the wire."""

    id: str
    source: str
    """The origin: a service's wire name."""
    type: str
    data: object
    """The payload as parsed JSON, not yet validated against its model."""
    time: datetime | None = None
    """When it was sent, by the sender's clock."""
    extensions: Mapping[str, object] = MappingProxyType({})
    """Every other member, known or not: readers pass on what they don't know."""
    expires: datetime | None = None
    """From when on it is neither delivered nor processed, by Redis' clock; in the extension `expirytime`."""


class Wire(BaseModel):
    """CloudEvents 1.0 as far as we rely on it; what is true of one member alone is checked when it is made."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    specversion: Literal["1.0"]
    id: str
    source: str = Field(min_length=1)
    type: str = Field(min_length=1)
    time: AwareDatetime | None = None
    datacontenttype: Literal["application/json"] | None = None
    data: Any

    def envelope(self) -> Envelope:
        """The envelope that it is.

        Raises:
            InvalidEnvelopeError: Its id can't be used, its time is none of UTC's, or its expiry is no time.
        """
        try:
            check_event_id(self.id)
            if self.time is not None and not 1 < self.time.year < 9999:
                self.time.astimezone(UTC)
        except InvalidEventIdError as error:
            raise InvalidEnvelopeError(f"id: {error}") from None
        except OverflowError:
            raise InvalidEnvelopeError("time: expected a time in the years 1 to 9999 of UTC") from None
        more = self.model_extra or {}
        expires = _expiry(more["expirytime"]) if "expirytime" in more else None
        return Envelope(self.id, self.source, self.type, self.data, self.time, more, expires)


def new_event_id() -> str:
    """A UUIDv7 (RFC 9562): unique, and sorted by the millisecond in which it was made."""
    milliseconds = clock.time_ns() // 1_000_000
    digits = (milliseconds.to_bytes(6, "big") + os.urandom(10)).hex()
    variant = "89ab"[int(digits[16], 16) & 0b11]
    return f"{digits[:8]}-{digits[8:12]}-7{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def check_event_id(event_id: str) -> str:
    """The id itself, if BullMQ, Redis and Node can all carry it.

    Raises:
        InvalidEventIdError: It is too short or long, has other characters, is a whole number
            (Node refuses those) or the suffix of one of BullMQ's own keys.
    """
    if not _EVENT_ID.fullmatch(event_id) or event_id in _RESERVED_IDS:
        raise InvalidEventIdError(
            "expected an event id that is a UUID or 16 to 64 letters, digits, '-' or '_', not a whole number "
            f"and not a key of BullMQ, got {event_id[:80]!r}; leave it out to have one made"
        )
    return event_id


def encode(
    *,
    event_id: str,
    source: str,
    event_type: str,
    data: bytes,
    time: datetime | None = None,
    extensions: Mapping[str, object] | None = None,
) -> bytes:
    """The envelope's JSON around data that is JSON already; members that are None are left out."""
    sent = wire_time(time or datetime.now(UTC))
    more = {name: value for name, value in (extensions or {}).items() if value is not None}
    members = json.dumps(more, ensure_ascii=False, separators=(",", ":"), allow_nan=False)[1:-1] if more else ""
    opening = (
        f'{{"specversion":"1.0","id":{_quoted(event_id)},"source":{_quoted(source)},"type":{_quoted(event_type)},'
        f'"time":"{sent}","datacontenttype":"application/json",{members}{"," if members else ""}"data":'
    )
    return opening.encode() + data + b"}"


def wire_time(moment: datetime) -> str:
    """A time as we and Node write it: UTC, with milliseconds."""
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return utc.isoformat(timespec="milliseconds")[:23] + "Z"


def with_expiry(envelope: bytes, expires: datetime) -> bytes:
    """What `encode` wrote, with a time from when on it counts no more."""
    head, mark, data = envelope.partition(b',"data":')
    return b'%b,"expirytime":"%b"%b%b' % (head, wire_time(expires).encode(), mark, data)


def _quoted(text: str) -> str:
    return f'"{text}"' if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def decode(raw: bytes) -> Envelope:
    """Read one envelope.

    Raises:
        InvalidEnvelopeError: It is not JSON, or a member is missing or of the wrong kind.
    """
    try:
        wire = Wire.model_validate_json(raw)
    except ValidationError as error:
        raise InvalidEnvelopeError(f"expected one event in CloudEvents 1.0 JSON; {_reasons(error)}") from None
    envelope = wire.envelope()
    if not is_finite(raw, event_id=envelope.id):
        raise InvalidEnvelopeError(
            "expected one event in CloudEvents 1.0 JSON; the whole: a number in it is not finite, which JSON can't hold"
        )
    return envelope


def _expiry(value: object) -> datetime | None:
    """The extension `expirytime`; null counts as left out.

    Raises:
        InvalidEnvelopeError: It is no time in RFC 3339.
    """
    if value is None:
        return None
    try:
        if not isinstance(value, str) or not _RFC_3339.fullmatch(value):
            raise ValueError("no time in RFC 3339")
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidEnvelopeError(
            f"expirytime: expected a time in RFC 3339 such as 2026-01-02T03:04:05.678Z, got {ascii(value)[:_SHOWN]}"
        ) from None


def is_finite(raw: bytes, *, event_id: str) -> bool:
    """Whether every number in this JSON is one that JSON can hold; every third event id looks like one that is not."""
    if not may_be_infinite(raw) or not may_be_infinite(raw.replace(b'"%b"' % event_id.encode(), b"", 1)):
        return True
    left = [from_json(raw)]
    while left:
        inner = left.pop()
        if isinstance(inner, float) and not math.isfinite(inner):
            return False
        if isinstance(inner, dict):
            left.extend(inner.values())
        elif isinstance(inner, list):
            left.extend(inner)
    return True


def _reasons(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(str(part) for part in reason['loc']) or 'the whole'}: {reason['msg']}"
        for reason in error.errors(include_input=False, include_url=False)
    )
