"""The wire format: one event as CloudEvents 1.0 structured JSON. Nothing else knows its keys."""

from __future__ import annotations

import json
import math
import os
import re
import time as clock
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from hippo_messenger.catalogue.numbers import may_be_infinite
from hippo_messenger.errors import InvalidEnvelopeError, InvalidEventIdError

__all__ = ["Envelope", "check_event_id", "decode", "decode_any", "decode_common", "encode", "new_event_id"]

_EVENT_ID = re.compile(r"[A-Za-z0-9_-]{16,64}")
_COMMON_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")
"""As we and Node write it."""
_RESERVED_IDS = frozenset({"waiting-children"})
"""The suffixes of BullMQ's own keys that are long enough to be taken for an event id."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """One event as it came over the wire."""

    id: str
    source: str
    """The origin: a service's wire name."""
    type: str
    data: object
    """The payload as parsed JSON, not yet validated against its model."""
    time: datetime | None = None
    """When it was sent, by the sender's clock."""
    extensions: Mapping[str, object] = field(default_factory=dict)
    """Every other member, known or not: readers pass on what they don't know."""


class _Wire(BaseModel):
    """CloudEvents 1.0 as far as we rely on it."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    specversion: Literal["1.0"]
    id: str
    source: str = Field(min_length=1)
    type: str = Field(min_length=1)
    time: AwareDatetime | None = None
    datacontenttype: Literal["application/json"] | None = None
    data: Any


def new_event_id() -> str:
    """A UUIDv7 (RFC 9562): unique, and sorted by the millisecond in which it was made."""
    milliseconds = clock.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    version, variant = 0x7 << 76, 0b10 << 62
    value = milliseconds << 80 | version | (random >> 64 & 0xFFF) << 64 | variant | random & (1 << 62) - 1
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def check_event_id(event_id: str) -> str:
    """The id itself, if BullMQ, Redis and Node can all carry it.

    Raises:
        InvalidEventIdError: It is too short or long, has other characters, is a whole number
            (Node refuses those) or the suffix of one of BullMQ's own keys.
    """
    if not _EVENT_ID.fullmatch(event_id) or event_id.isdigit() or event_id in _RESERVED_IDS:
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
    sent = (time or datetime.now(UTC)).astimezone(UTC)
    head: dict[str, object] = {
        "specversion": "1.0",
        "id": event_id,
        "source": source,
        "type": event_type,
        "time": sent.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "datacontenttype": "application/json",
    }
    head.update((name, value) for name, value in (extensions or {}).items() if value is not None)
    opening = json.dumps(head, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return opening[:-1].encode() + b',"data":' + data + b"}"


def decode(raw: bytes) -> Envelope:
    """Read one envelope.

    Raises:
        InvalidEnvelopeError: It is not JSON, or a member is missing or of the wrong kind.
    """
    return decode_common(raw) or decode_any(raw)


def decode_common(raw: bytes) -> Envelope | None:
    """What `decode_any` makes of an envelope as messengers write them, in half the time; None for any other."""
    if may_be_infinite(raw):
        return None
    try:
        wire = from_json(raw)
    except (ValueError, RecursionError):
        return None
    if type(wire) is not dict or wire.pop("specversion", None) != "1.0" or "data" not in wire:
        return None
    event_id, source, event_type = wire.pop("id", None), wire.pop("source", None), wire.pop("type", None)
    time, content = wire.pop("time", None), wire.pop("datacontenttype", None)
    if not (type(event_id) is type(source) is type(event_type) is str and source and event_type):
        return None
    if type(time) is not str or not _COMMON_TIME.fullmatch(time) or content != "application/json":
        return None
    try:
        sent = datetime.fromisoformat(time)
        check_event_id(event_id)
    except ValueError:
        return None
    data = wire.pop("data")
    return Envelope(id=event_id, source=source, type=event_type, data=data, time=sent, extensions=wire)


def decode_any(raw: bytes) -> Envelope:
    """Read one envelope, however it is written.

    Raises:
        InvalidEnvelopeError: It is not JSON, or a member is missing or of the wrong kind.
    """
    try:
        wire = _Wire.model_validate_json(raw)
        check_event_id(wire.id)
        if wire.time is not None:
            wire.time.astimezone(UTC)
    except ValidationError as error:
        raise InvalidEnvelopeError(f"expected one event in CloudEvents 1.0 JSON; {_reasons(error)}") from None
    except InvalidEventIdError as error:
        raise InvalidEnvelopeError(f"id: {error}") from None
    except OverflowError:
        raise InvalidEnvelopeError("time: expected a time in the years 1 to 9999 of UTC") from None
    if may_be_infinite(raw) and not _is_finite([wire.data, wire.model_extra]):
        raise InvalidEnvelopeError(
            "expected one event in CloudEvents 1.0 JSON; the whole: a number in it is not finite, which JSON can't hold"
        )
    return Envelope(
        id=wire.id,
        source=wire.source,
        type=wire.type,
        data=wire.data,
        time=wire.time,
        extensions=wire.model_extra or {},
    )


def _is_finite(value: object) -> bool:
    left = [value]
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
