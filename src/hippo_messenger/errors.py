"""Every exception of the package. One tree, one place.

HippoError
├── ConfigurationError (ValueError)              something was put together wrongly; nothing was sent
│   ├── ConnectionNotConfiguredError             no Redis connection was named
│   ├── CatalogueError                           a catalogue declares something wrong or can't be loaded
│   ├── UnknownServiceError                      not a service of the catalogue
│   ├── UnknownEventTypeError                    not an event type of the catalogue
│   └── InvalidNameError                         a reserved or malformed name
├── EventError (ValueError)                      one event is wrong; it was not sent
│   ├── EventValidationError                     its data doesn't fit its model
│   ├── EventTooLargeError                       its data is larger than the limit
│   ├── InvalidEventIdError                      its id is reserved or malformed
│   └── InvalidEnvelopeError                     what came over the wire is no envelope
├── RegistrationError
│   ├── InvalidRegistrationError (ValueError)    what came over the wire is no registration
│   └── RegistrationTimeoutError (TimeoutError)  queued, but not live within the time limit
├── SendError
│   ├── NotSentError                             Redis does not have the event
│   │   └── ServiceFullError                     a service that listens to it has as many jobs as it takes
│   ├── EventIdInUseError                        another event has the id, or the broker has failed this one
│   └── PossiblySentError                        Redis may have the event; sending the same id again is safe
├── RedisError                                   every failure of Redis and of the way to it
│   ├── RedisUnavailableError                    no connection, or it broke
│   │   ├── RedisTimeoutError                    no answer within the time limit
│   │   └── RedisLoadingError                    Redis is still loading its data, or is busy
│   ├── RedisAuthenticationError                 wrong or missing user or password
│   ├── RedisPermissionError                     the user may not run a command or touch a key
│   ├── RedisReadOnlyError                       a replica, or a server that stopped taking writes
│   ├── RedisOutOfMemoryError                    maxmemory is reached
│   ├── RedisEvictsError                         its maxmemory-policy would drop events
│   ├── RedisTooOldError                         older than 6.2
│   ├── QueueCorruptedError                      a key of a queue holds something else than it should
│   ├── LayoutTooNewError                        a newer version of this package keeps these queues
│   └── RedisCommandError                        any other error reply
├── DeadLetterError                              something can't be done with a dead letter; it stays as it is
│   ├── UnknownDeadLetterError                   no dead letter has this id, or no group of them this name
│   └── RedriveUnderWayError                     a queue is redriven already
├── EmbeddedServerError                          the embedded server can't be started
├── MessengerClosedError                         used after close
├── ProcessorTimeoutError (TimeoutError)         a processor took longer than its limit; the attempt has failed
└── ProcessingError                              raised by a processor to say what becomes of the job
    ├── DeadLetter                               no more retries: to the dead letters
    └── Discard                                  complete without effect
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

__all__ = [
    "CatalogueError",
    "ConfigurationError",
    "ConnectionNotConfiguredError",
    "DeadLetter",
    "DeadLetterError",
    "Discard",
    "EmbeddedServerError",
    "EventError",
    "EventIdInUseError",
    "EventTooLargeError",
    "EventValidationError",
    "FieldError",
    "HippoError",
    "InvalidEnvelopeError",
    "InvalidEventIdError",
    "InvalidNameError",
    "InvalidRegistrationError",
    "LayoutTooNewError",
    "MessengerClosedError",
    "NotSentError",
    "PossiblySentError",
    "ProcessingError",
    "ProcessorTimeoutError",
    "QueueCorruptedError",
    "RedisAuthenticationError",
    "RedisCommandError",
    "RedisError",
    "RedisEvictsError",
    "RedisLoadingError",
    "RedisOutOfMemoryError",
    "RedisPermissionError",
    "RedisReadOnlyError",
    "RedisTimeoutError",
    "RedisTooOldError",
    "RedisUnavailableError",
    "RedriveUnderWayError",
    "RegistrationError",
    "RegistrationTimeoutError",
    "SendError",
    "ServiceFullError",
    "UnknownDeadLetterError",
    "UnknownEventTypeError",
    "UnknownServiceError",
]


class HippoError(Exception):
    """Any error that this package raises on purpose."""


class ConfigurationError(HippoError, ValueError):
    """Something was put together wrongly: an argument, a setting, an environment variable."""


class ConnectionNotConfiguredError(ConfigurationError):
    """No Redis connection was named, neither in the code nor in the environment."""


class CatalogueError(ConfigurationError):
    """A catalogue declares something wrong, or can't be loaded from its "module:attribute"."""


_LONGEST_NAME = 80
_LONGEST_REASON = 4000


def _quoted(name: str) -> str:
    return repr(name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME] + "…")


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    if len(name) > _LONGEST_NAME:  # comparing would take as long as somebody made the name
        return f"expected one of {len(names)} that are far shorter"
    # A member is called by its enum and name, and meant by its name alone as well.
    by_folded = {spelled.casefold(): known for known in names for spelled in (known, known.rpartition(".")[2])}
    close = list(dict.fromkeys(by_folded[match] for match in get_close_matches(name.casefold(), by_folded, n=3)))
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"known: {', '.join(names)}" if names else "none is known"


class UnknownServiceError(ConfigurationError):
    """A service that the catalogue doesn't have, or a plain string where its enum member belongs."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(
            f"expected a service of the catalogue (an enum member), got {_quoted(name)}; {_did_you_mean(name, known)}"
        )
        self.name = name
        """What was given in its place."""


class UnknownEventTypeError(ConfigurationError):
    """An event type that the catalogue doesn't have, or a plain string where its enum member belongs."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(
            f"expected an event type of the catalogue (an enum member), got {_quoted(name)}; "
            f"{_did_you_mean(name, known)}"
        )
        self.name = name
        """What was given in its place."""


class InvalidNameError(ConfigurationError):
    """A name that is reserved, or that BullMQ or Redis would take for something else."""


class EventError(HippoError, ValueError):
    """One event is wrong; it was not sent, and nothing else was harmed."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """What is wrong with one field of an event's data."""

    path: str
    """Wire names joined by dots, list positions as numbers: `items.0.quantity`."""
    expected: str
    """What the model wants, in pydantic's words."""
    got: str
    """What came, shortened; masked where the field is secret, empty where the field is missing."""

    def __str__(self) -> str:
        return f"{self.path}: {self.expected}" + (f", got {self.got}" if self.got else "")


class EventValidationError(EventError):
    """The data of an event doesn't fit the model of its type; `fields` says why, field by field.

    The message names as many of them as can be read; past 10,000 faults `fields` has their number alone.
    """

    def __init__(self, event_type: str, fields: Iterable[FieldError]) -> None:
        self.event_type = event_type
        """The wire name of the event's type."""
        self.fields = tuple(fields)
        """A `FieldError` for each field that is wrong."""
        reasons = "; ".join(str(field) for field in self.fields[:100])
        if len(self.fields) > 100 or len(reasons) > _LONGEST_REASON:
            reasons = f"{reasons[:_LONGEST_REASON]}…; {len(self.fields):,} in all"
        super().__init__(f"the data doesn't fit {event_type}: {reasons}")


class EventTooLargeError(EventError):
    """An event is larger than the limit (`Settings.max_event_bytes`)."""


class InvalidEventIdError(EventError):
    """An event id must be a UUID or 16 to 64 letters, digits, `-` or `_`, and not a whole number."""


class InvalidEnvelopeError(EventError):
    """What came over the wire is not one event in CloudEvents 1.0 JSON."""


class RegistrationError(HippoError):
    """A registration could not be made."""


class InvalidRegistrationError(RegistrationError, ValueError):
    """What came over the wire as a registration is not one."""


class RegistrationTimeoutError(RegistrationError, TimeoutError):
    """The registration is queued, but no message broker took it within the time limit."""


class SendError(HippoError):
    """Events could not be sent for a reason outside of their data; the cause is chained."""

    def __init__(self, message: str, *, event_ids: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.event_ids = tuple(event_ids)
        """The events it is about; under these ids they can be sent again where that helps."""


class NotSentError(SendError):
    """Redis does not have the event: send it again when the cause is mended."""


class ServiceFullError(NotSentError):
    """A service that listens to the event has as many waiting jobs as it takes, and refuses more: send it later."""


class EventIdInUseError(SendError):
    """Another event stands under the id, or this one that the broker has failed: sending it again changes nothing."""


class PossiblySentError(SendError):
    """Redis may or may not have the event: send it again with the same `event_id`, it is delivered once."""


class RedisError(HippoError):
    """Redis, or the way to it, failed."""

    maybe_executed = False
    """True where the command may have worked all the same, because only its reply is missing."""


class RedisUnavailableError(RedisError):
    """No connection to Redis, or the connection broke; it may come back by itself."""


class RedisTimeoutError(RedisUnavailableError):
    """Redis gave no answer within the time limit."""


class RedisLoadingError(RedisUnavailableError):
    """Redis is loading its data from disk, or a script of somebody else keeps it busy."""


class RedisAuthenticationError(RedisError):
    """Redis wants a user and a password, or other ones."""


class RedisPermissionError(RedisError):
    """The Redis user may not run a command, or not touch a key, that the messenger needs."""


class RedisReadOnlyError(RedisError):
    """This Redis takes no writes: it is a replica, or it can't save to its disk."""


class RedisOutOfMemoryError(RedisError):
    """This Redis has reached its maxmemory and takes no more data."""


class RedisEvictsError(RedisError):
    """This Redis drops keys when memory is short, and so would lose events: set maxmemory-policy noeviction."""


class RedisTooOldError(RedisError):
    """This Redis is older than 6.2."""


class QueueCorruptedError(RedisError):
    """A key of a queue holds something that BullMQ's layout doesn't have there; nothing was changed."""


class LayoutTooNewError(RedisError):
    """A newer version of this package keeps these queues, in a way that this one would do harm to: update it."""


class RedisCommandError(RedisError):
    """Redis answered with an error that has no class of its own here."""


class DeadLetterError(HippoError):
    """Something can't be done with a dead letter; it stays as it is."""


class UnknownDeadLetterError(DeadLetterError):
    """No dead letter of the queue has this id, or no group of them this name."""

    def __init__(self, name: str, known: Iterable[str], *, queue: str, kind: str) -> None:
        super().__init__(f"expected {kind} of {queue}, got {_quoted(name)}; {_did_you_mean(name, known)}")
        self.name = name
        """The id, or the name of a group, that was asked for."""


class RedriveUnderWayError(DeadLetterError):
    """A queue's dead letters are redriven already: watch that, cancel it, or wait until it is done."""


class EmbeddedServerError(HippoError):
    """The embedded server could not be started."""


class MessengerClosedError(HippoError):
    """The messenger, worker or broker was used after it was closed."""


class ProcessorTimeoutError(HippoError, TimeoutError):
    """A processor took longer than its limit for one job: the attempt has failed, and is retried as any other."""


class ProcessingError(HippoError):
    """Raised by a processor to say what becomes of its job."""


class DeadLetter(ProcessingError):
    """No retry would help: the job becomes a dead letter now, with this message as its reason."""


class Discard(ProcessingError):
    """Nothing is to be done: the job completes, and its result says that and why."""
