"""Whether a dead letter would be taken under a catalogue, and what of its data may be shown. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping

from hippo_messenger.catalogue.catalogue import Catalogue
from hippo_messenger.catalogue.model import EventData, masked, read_data
from hippo_messenger.envelope import decode
from hippo_messenger.errors import (
    HippoError,
    InvalidEnvelopeError,
    UnknownEventTypeError,
)
from hippo_messenger.queues.layout import BROKER_QUEUE
from hippo_messenger.queues.letter import Letter
from hippo_messenger.registration import REGISTRATION_JOB, Registration

__all__ = ["LetterCheck"]

_TEXT_LENGTH = 4096


class LetterCheck:
    """Judges the dead letters of one queue by one catalogue, as its workers, or the broker, would."""

    def __init__(self, catalogue: Catalogue, *, queue: str, max_bytes: int) -> None:
        self.catalogue = catalogue
        self.max_bytes = max_bytes
        self._is_broker = queue == BROKER_QUEUE

    def fault(self, letter: Letter) -> str | None:
        """Why it would fail again before anybody works on it, or None; its name, data and options must be there."""
        if letter.where.is_rejected:
            return "it was turned away at send, and is no event"
        if len(letter.data) > self.max_bytes:
            return f"expected at most {self.max_bytes:,} bytes, got {len(letter.data):,}"
        try:
            self._read(letter)
        except HippoError as error:
            return f"{type(error).__name__}: {error}"
        except Exception as error:  # a catalogue's own validator, say
            return f"reading it raised {type(error).__name__}: {error}"
        return None

    def shown(self, name: str, data: bytes | str) -> object:
        """A job's data with every secret masked; where nobody can say what is secret, a remark instead."""
        try:
            found = json.loads(data)
        except (ValueError, RecursionError):
            text = data if isinstance(data, str) else data.decode(errors="replace")
            return text if len(text) <= _TEXT_LENGTH else text[:_TEXT_LENGTH] + "…"
        if not isinstance(found, Mapping) or "data" not in found:
            return found
        model = self.model(str(found.get("type") or name))
        if model is None:
            return {**found, "data": f"not shown: {name} is not in this catalogue, so it can't say what is secret"}
        return {**found, "data": masked(model, found["data"])}

    def model(self, event_type: str) -> type[EventData] | None:
        """The model of an event type, or None where the catalogue doesn't have it."""
        try:
            return self.catalogue.model(self.catalogue.event_type(event_type))
        except UnknownEventTypeError:
            return None

    def _read(self, letter: Letter) -> None:
        if self._is_broker and letter.name == REGISTRATION_JOB:
            self.catalogue.service(Registration.from_wire(letter.data).service)
            return
        envelope = decode(letter.data)
        if self._is_broker:
            if envelope.type != letter.name:
                raise InvalidEnvelopeError(
                    f"expected the envelope's type as the name of its job, got {envelope.type[:80]} in a job named "
                    f"{letter.name[:80]}"
                )
            self.catalogue.service(envelope.source)
        read_data(self.catalogue.model(self.catalogue.event_type(envelope.type)), envelope.data)
