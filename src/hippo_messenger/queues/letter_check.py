"""Whether a dead letter would be taken under a catalogue, and what of its data may be shown. Pure."""

from __future__ import annotations

import json

from hippo_messenger.catalogue.catalogue import Catalogue
from hippo_messenger.catalogue.model import EventData, masked
from hippo_messenger.errors import (
    HippoError,
    InvalidEnvelopeError,
    UnknownEventTypeError,
)
from hippo_messenger.queues.layout import BROKER_QUEUE
from hippo_messenger.queues.letter import Letter
from hippo_messenger.reading import EventReader
from hippo_messenger.registration import REGISTRATION_JOB, Registration

__all__ = ["LetterCheck"]


class LetterCheck:
    """Judges the dead letters of one queue by one catalogue, as its workers, or the broker, would."""

    def __init__(self, catalogue: Catalogue, *, queue: str, max_bytes: int) -> None:
        self.catalogue = catalogue
        self.max_bytes = max_bytes
        self._reader = EventReader(catalogue)
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

    def shown(self, letter: Letter, data: bytes | str | None = None) -> object:
        """What a letter has as its data, with every secret masked; what nobody can mask is only described.

        Args:
            letter: Whose data it is.
            data: What its data was at some time; left out, what it is now.
        """
        raw = letter.data if data is None else data
        try:
            found = json.loads(raw)
        except (ValueError, RecursionError) as error:
            return f"not shown: it is no JSON, so nobody can say where in it a secret is ({error}); export shows it"
        if letter.where.is_rejected and data is None:  # `send` has masked it
            return found
        if not isinstance(found, dict):
            return f"not shown: expected an object, got a {type(found).__name__}; export shows it"
        if letter.name == REGISTRATION_JOB:
            return found
        if "data" in found:
            return {**found, "data": self._masked(found["data"], letter.name, str(found.get("type", letter.name)))}
        return self._masked(found, letter.name)

    def model(self, event_type: str) -> type[EventData] | None:
        """The model of an event type, or None where the catalogue doesn't have it."""
        try:
            return self.catalogue.model(self.catalogue.event_type(event_type))
        except UnknownEventTypeError:
            return None

    def _masked(self, data: object, *names: str) -> object:
        """Event data, masked as all the types say that it may be of."""
        models = [self.model(name) for name in dict.fromkeys(names)]
        if not isinstance(data, dict):
            return f"not shown: expected an object, got a {type(data).__name__}; export shows it"
        for model in models:
            if model is None:
                return f"not shown: {' or '.join(names)} is not in this catalogue, so it can't say what is secret"
            data = masked(model, data)
        return data

    def _read(self, letter: Letter) -> None:
        if self._is_broker and letter.name == REGISTRATION_JOB:
            self.catalogue.service(Registration.from_wire(letter.data).service)
            return
        envelope = self._reader.read(letter.data, expected=letter.name).envelope
        if self._is_broker:
            if envelope.type != letter.name:
                raise InvalidEnvelopeError(
                    f"expected the envelope's type as the name of its job, got {envelope.type[:80]} in a job named "
                    f"{letter.name[:80]}"
                )
            self.catalogue.service(envelope.source)
