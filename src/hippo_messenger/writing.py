"""One event, from what a user gives to the job that goes to the broker: checked, in its envelope, with its options."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

from hippo_messenger.catalogue.catalogue import Catalogue, DeprecationNotices
from hippo_messenger.catalogue.model import EventData, EventType, Service, masked, read_data, read_data_json, to_wire
from hippo_messenger.envelope import check_event_id, encode, new_event_id, with_expiry
from hippo_messenger.errors import ConfigurationError, EventTooLargeError
from hippo_messenger.queues.publisher import Publication
from hippo_messenger.queues.queue import event_digest

__all__ = ["EventWriter", "GivenData"]

GivenData = EventData | Mapping[str, object] | None
"""What a user gives as the data of an event: its model, or with an event type a mapping that fits it."""

_HIGHEST_PRIORITY = 2**21
"""BullMQ's limit (PRIORITY_LIMIT)."""
_LONGEST_DELAY = 10 * 365 * 24 * 3600.0


class EventWriter:
    """Writes events of one service; the counterpart of `reading.EventReader`."""

    def __init__(self, catalogue: Catalogue, *, service: Service, max_bytes: int) -> None:
        self._catalogue = catalogue
        self._service = service
        self._max_bytes = max_bytes
        self._notices = DeprecationNotices()

    def write(
        self,
        data: GivenData,
        event_type: EventType | None = None,
        *,
        event_id: str | None = None,
        delay: float = 0,
        priority: int = 0,
        copy_options: str = "",
    ) -> Publication:
        """The job of one event.

        Args:
            data: See `GivenData`.
            event_type: The type, where `data` doesn't say it.
            event_id: Left out, one is made.
            delay: Seconds.
            priority: As BullMQ's.
            copy_options: The options (JSON) of the copy that goes straight to the sender's own queue; empty is no copy.

        Raises:
            EventValidationError: The data doesn't fit.
            EventTooLargeError: It is larger than may be.
            InvalidEventIdError: The id can't be used.
            UnknownEventTypeError: The type is not in the catalogue.
            ConfigurationError: Delay or priority is out of range, or data and type don't belong together.
        """
        kind, wire = self._checked(data, event_type)
        event_id = new_event_id() if event_id is None else check_event_id(event_id)
        envelope = encode(event_id=event_id, source=self._service.value, event_type=kind.value, data=wire)
        self._check_size(envelope)
        milliseconds = _checked_delay(delay)
        priority = _checked_priority(priority)
        return Publication(
            name=kind.value,
            data=envelope,
            options=_placed('{"attempts":1}', delay=milliseconds, priority=priority),
            event_id=event_id,
            delay=milliseconds,
            priority=priority,
            own_options=copy_options and _placed(copy_options, delay=milliseconds, priority=priority),
            digest=event_digest(self._service.value, event_id) if copy_options else b"",
        )

    def with_expiry(self, written: Publication, expiry: datetime) -> Publication:
        """The same event, which counts no more from a time on.

        Raises:
            EventTooLargeError: With that time it is larger than may be.
        """
        envelope = with_expiry(written.data, expiry)
        self._check_size(envelope)
        return written._replace(data=envelope)

    def shown(self, data: GivenData, event_type: EventType) -> object:
        """The data of a refused event, for a record: with its secrets masked; a remark where it has no end."""
        model = self._catalogue.model(event_type)
        try:
            if isinstance(data, EventData):
                return masked(model, data.model_dump(mode="python", by_alias=True, warnings=False))
            return masked(model, data)
        except (ValueError, RecursionError):
            return "not shown: it is nested too deep, or contains itself"

    def _checked(self, data: GivenData, event_type: EventType | None) -> tuple[EventType, bytes]:
        if isinstance(data, EventData):
            kind = self._catalogue.require_event_type(type(data).event_type)
            if event_type is not None and event_type != kind:
                raise ConfigurationError(f"expected data of {event_type}, got {type(data).__name__}, which is {kind}")
            if self._catalogue.model(kind) is not type(data):
                raise ConfigurationError(
                    f"expected {self._catalogue.model(kind).__name__}, the catalogue's model of {kind}, "
                    f"got another class of type {type(data).__name__}"
                )
            wire = to_wire(data)
            read_data_json(type(data), wire)  # model_copy and model_construct check nothing
        else:
            if event_type is None:
                raise ConfigurationError(
                    "expected an event-data model such as OrderSuccess(…), or event_type= with data= as a mapping, "
                    f"got {type(data).__name__} without event_type"
                )
            kind = self._catalogue.require_event_type(event_type)
            wire = to_wire(read_data(self._catalogue.model(kind), data))
        self._notices.warn(self._catalogue.model(kind))
        return kind, wire

    def _check_size(self, envelope: bytes) -> None:
        if len(envelope) > self._max_bytes:
            raise EventTooLargeError(
                f"expected an event of at most {self._max_bytes:,} bytes, got one of {len(envelope):,}; "
                "send a reference to the data instead, or raise HIPPO_MAX_EVENT_BYTES"
            )


def _checked_delay(delay: float) -> int:
    if not 0 <= delay <= _LONGEST_DELAY:
        raise ConfigurationError(f"expected a delay from 0 seconds to ten years, got {delay!r}")
    return round(delay * 1000)


def _checked_priority(priority: int) -> int:
    if isinstance(priority, bool) or not isinstance(priority, int) or not 0 <= priority <= _HIGHEST_PRIORITY:
        raise ConfigurationError(f"expected a priority from 0 to {_HIGHEST_PRIORITY:,}, got {priority!r}")
    return priority


def _placed(options: str, *, delay: int, priority: int) -> str:
    """Job options (JSON) that say when the job is due, and where in line it stands."""
    if not delay and not priority:
        return options
    more = {"delay": delay, "priority": priority}
    placed = json.loads(options) | {name: value for name, value in more.items() if value}
    return json.dumps(placed, separators=(",", ":"))
