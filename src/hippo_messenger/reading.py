"""One event, from the bytes of its job to validated data: what brokers and workers both do with every job."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from pydantic import ValidationError, create_model

from hippo_messenger.catalogue.catalogue import Catalogue
from hippo_messenger.catalogue.model import EventData, EventType, read_data
from hippo_messenger.envelope import Envelope, Wire, decode, is_finite
from hippo_messenger.errors import InvalidEnvelopeError, UnknownEventTypeError

__all__ = ["Event", "EventReader"]


class Event(NamedTuple):
    """A valid event of a catalogue."""

    envelope: Envelope
    event_type: EventType
    data: EventData


class EventReader:
    """Reads events of one catalogue."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._wires: dict[str, type[Wire]] = {}

    def read(self, raw: bytes, *, expected: str) -> Event:
        """The event in an envelope; its data may be of any type in the catalogue.

        Args:
            raw: The envelope.
            expected: The type that its job is named by, which is nearly always its own and is tried first.

        Raises:
            InvalidEnvelopeError: It is none.
            UnknownEventTypeError: Its type is not in the catalogue.
            EventValidationError: Its data doesn't fit the model of its type.
        """
        return self.read_at_once(raw, expected=expected) or self.read_step_by_step(raw)

    def read_at_once(self, raw: bytes, *, expected: str) -> Event | None:
        """What `read_step_by_step` makes of a valid event of the expected type, in half the time; None for others."""
        try:
            wire = self._wires.get(expected) or self._build_wire(expected)
            envelope = wire.model_validate_json(raw).envelope()
        except (UnknownEventTypeError, ValidationError, InvalidEnvelopeError):
            return None
        if envelope.type != expected or not is_finite(raw, event_id=envelope.id):
            return None
        data = cast("EventData", envelope.data)
        return Event(envelope, data.event_type, data)

    def read_step_by_step(self, raw: bytes) -> Event:
        """As `read`: first the envelope, then the data, so that an error says what is wrong with which."""
        envelope = decode(raw)
        event_type = self._catalogue.event_type(envelope.type)
        return Event(envelope, event_type, read_data(self._catalogue.model(event_type), envelope.data))

    def _build_wire(self, name: str) -> type[Wire]:
        """The wire format of events of one type, built when the first of them comes."""
        model = self._catalogue.model(self._catalogue.event_type(name))
        wire = create_model(f"{model.__name__}Wire", __base__=Wire, data=cast("Any", (model, ...)))
        self._wires[name] = wire
        return wire
