"""What a job of the broker's queue says: an event to route, a registration, or why it is neither."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from hippo_messenger.catalogue.catalogue import Catalogue
from hippo_messenger.catalogue.model import read_data
from hippo_messenger.envelope import Envelope, decode
from hippo_messenger.errors import (
    EventError,
    InvalidEnvelopeError,
    UnknownEventTypeError,
    UnknownServiceError,
)
from hippo_messenger.log import log
from hippo_messenger.queues.delivery import Outcome, QueuedJob
from hippo_messenger.queues.schedule import COUNTER_FIELD
from hippo_messenger.reading import EventReader
from hippo_messenger.registration import Registration

__all__ = ["Intake", "ReceivedEvent"]

_HIGHEST_PRIORITY = 2**21
_NAME_LENGTH = 80
_COUNTER_DIGITS = 15
"""More are none of a counter's, and JavaScript and Lua could not hold them."""


class ReceivedEvent(NamedTuple):
    """A valid event, ready to be routed."""

    job: QueuedJob
    envelope: Envelope
    deliver_to: frozenset[str] | None
    """Set where a parked copy is redriven: it goes to these services alone."""
    extra: str
    """Members to add to the options of the copies, as JSON without braces."""


class Intake:
    """Reads jobs, and validates what is in them against one catalogue; nothing here touches Redis."""

    def __init__(self, catalogue: Catalogue, *, max_bytes: int) -> None:
        self._catalogue = catalogue
        self._reader = EventReader(catalogue)
        self._max_bytes = max_bytes

    def read(self, job: QueuedJob) -> ReceivedEvent | Outcome:
        """The event in a job, or why there is none."""
        try:
            job.check_size(self._max_bytes)
            event = self._reader.read_at_once(job.data, expected=job.name)
            envelope = event.envelope if event is not None else self._read_step_by_step(job)
            self._catalogue.service(envelope.source)
            options = job.read_options
        except (EventError, UnknownEventTypeError, UnknownServiceError) as error:
            log.warning("event %s (%s) is not delivered: %s", job.id, job.name, error)
            return Outcome.failed(job, f"{type(error).__name__}: {error}")
        except Exception as error:  # a catalogue's own validator, say: one event must not take the broker with it
            log.exception("event %s (%s) is not delivered", job.id, job.name)
            return Outcome.failed(job, f"reading it raised {type(error).__name__}: {error}; mend that, then redrive it")
        return ReceivedEvent(job, envelope, deliver_to=_deliver_to(options), extra=_passed_on(options))

    def _read_step_by_step(self, job: QueuedJob) -> Envelope:
        """As `read`, so that what is wrong is said by its name, the envelope's faults first."""
        envelope = decode(job.data)
        if envelope.type != job.name:
            raise InvalidEnvelopeError(
                f"expected the envelope's type as the name of its job, got {envelope.type[:_NAME_LENGTH]} in a job "
                f"named {job.name[:_NAME_LENGTH]}"
            )
        event_type = self._catalogue.event_type(envelope.type)
        self._catalogue.service(envelope.source)
        read_data(self._catalogue.model(event_type), envelope.data)
        return envelope

    def read_registration(self, job: QueuedJob) -> tuple[Registration, int]:
        """The registration in a job, and its number: the higher one is the newer.

        Raises:
            EventTooLargeError: It is too large to be one.
            InvalidRegistrationError: It is none.
            UnknownServiceError: Its service is not in the catalogue.
        """
        job.check_size(self._max_bytes)
        registration = Registration.from_wire(job.data)
        self._catalogue.service(registration.service)
        return registration, _registration_number(job)


def _deliver_to(options: Mapping[str, object]) -> frozenset[str] | None:
    names = options.get("deliverTo")
    return frozenset(str(name) for name in names) if isinstance(names, list) else None


def _passed_on(options: Mapping[str, object]) -> str:
    """The sender's options that go with every copy: priority, and trace context where a Node worker can read it.

    A `tm` that is no JSON object text would wedge a Node worker for good, so it is dropped.
    """
    members: dict[str, object] = {}
    priority = options.get("priority")
    if isinstance(priority, int) and not isinstance(priority, bool) and 0 < priority <= _HIGHEST_PRIORITY:
        members["priority"] = priority
    context = options.get("tm")
    if isinstance(context, str) and _is_json_object(context):
        members["tm"] = context
    return json.dumps(members, separators=(",", ":"))[1:-1] if members else ""


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text, parse_constant=_refuse), dict)
    except (ValueError, RecursionError):
        return False


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _registration_number(job: QueuedJob) -> int:
    """Which registration is newer: the job's own number, or for a repeat job the one it stems from."""
    if job.scheduler is None:
        return _counter(job.id)
    return _counter(str(json.loads(job.data).get(COUNTER_FIELD)))


def _counter(text: str) -> int:
    """A number as BullMQ's counter gives it; what is none is older than all others."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _COUNTER_DIGITS else 0
