"""Who listens to what, and the decision where an event goes. Pure: no clock, no Redis."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError

from hippo_messenger.backlog import BacklogLimit
from hippo_messenger.catalogue.catalogue import RESERVED_NAMES
from hippo_messenger.envelope import Envelope
from hippo_messenger.errors import InvalidNameError, InvalidRegistrationError
from hippo_messenger.retry import RetryPolicy

__all__ = [
    "REGISTRATION_JOB",
    "Maker",
    "Registration",
    "Registrations",
    "Retention",
    "check_service_name",
    "route",
    "scheduler_of",
]

REGISTRATION_JOB = "hippo.register"
"""The name of the job that carries a registration to the broker."""

_LONGEST_NAME = 255
"""Of a host."""
_SERVICE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class Retention:
    """How long finished jobs are kept for looking at; None is without limit."""

    age: int | None = None
    """Seconds."""
    count: int | None = None
    """Jobs; 0 removes a job as soon as it is finished."""

    @classmethod
    def from_job_option(cls, option: object, *, default: Retention) -> Retention:
        """BullMQ's `removeOnComplete` or `removeOnFail`: true, a count, or an object with age and count."""
        if option is True:
            return cls(count=0)
        if isinstance(option, int) and not isinstance(option, bool):
            return cls(count=_whole(option))
        if isinstance(option, Mapping):
            return cls(age=_whole(option.get("age")), count=_whole(option.get("count")))
        return cls() if option is False else default

    def to_job_option(self) -> dict[str, int]:
        """BullMQ's form of it."""
        return {name: value for name, value in (("age", self.age), ("count", self.count)) if value is not None}


def _whole(value: object) -> int | None:
    """A number that a retention can have; what JavaScript can't hold is no limit either."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 2**53:
        return None
    return int(value)


@dataclass(frozen=True, slots=True)
class Maker:
    """The messenger that made a registration; what it doesn't say is empty."""

    instance: str = ""
    host: str = ""

    def to_wire(self) -> dict[str, str]:
        """The members beside a registration's own in the data of its job; the registry doesn't keep them."""
        return {"instance": self.instance, "host": self.host}

    @classmethod
    def from_wire(cls, raw: bytes) -> Maker:
        """Who made the registration in this job's data, which is JSON; what is no short text counts as not said."""
        wire = json.loads(raw)
        said = wire if isinstance(wire, Mapping) else {}
        return cls(instance=_short_text(said.get("instance")), host=_short_text(said.get("host")))


def _short_text(value: object) -> str:
    return value if isinstance(value, str) and len(value) <= _LONGEST_NAME and value.isprintable() else ""


class _BacklogWire(BaseModel):
    """A limit of waiting jobs on the wire."""

    limit: int = Field(ge=1, le=2**31 - 1)
    when_full: Literal["hold", "refuse"] = Field(default="hold", alias="whenFull")


class _Wire(BaseModel):
    """A registration as any service, also one in Node, sends it."""

    model_config = ConfigDict(extra="allow")

    service_name: str = Field(alias="serviceName")
    listens_to: Annotated[list[str], FailFast()] = Field(alias="listensTo")
    job_options: dict[str, Any] = Field(default_factory=dict, alias="jobOptions")
    backlog: _BacklogWire | None = None


@dataclass(frozen=True)
class Registration:
    """What one service told the broker: its name, what it listens to, and how its copies are to be handled."""

    service: str
    listens_to: frozenset[str]
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    completed: Retention = field(default_factory=lambda: Retention(age=3600, count=1000))
    backlog: BacklogLimit | None = None

    @cached_property
    def job_options(self) -> str:
        """The options of each copy in this service's queue, as BullMQ stores them."""
        options = self.retry.to_job_options() | {"removeOnComplete": self.completed.to_job_option()}
        return json.dumps(options, separators=(",", ":"))

    def to_wire(self) -> bytes:
        """The data of the registration job; equal registrations give equal bytes."""
        wire: dict[str, object] = {
            "serviceName": self.service,
            "listensTo": sorted(self.listens_to),
            "jobOptions": json.loads(self.job_options),
        }
        if self.backlog is not None:
            wire["backlog"] = {"limit": self.backlog.jobs, "whenFull": self.backlog.when_full}
        return json.dumps(wire, separators=(",", ":")).encode()

    @classmethod
    def from_wire(cls, raw: bytes) -> Registration:
        """Read one registration.

        Raises:
            InvalidRegistrationError: It is not JSON, or a member is missing or of the wrong kind.
        """
        try:
            wire = _Wire.model_validate_json(raw)
            check_service_name(wire.service_name)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "the whole"
            raise InvalidRegistrationError(
                'expected {"serviceName": "account", "listensTo": ["ORDER_SUCCESS"]}; ' + f"{where}: {first['msg']}"
            ) from None
        except InvalidNameError as error:
            raise InvalidRegistrationError(f"serviceName: {error}") from None
        return cls(
            service=wire.service_name,
            listens_to=frozenset(wire.listens_to),
            retry=RetryPolicy.from_job_options(wire.job_options) if "attempts" in wire.job_options else RetryPolicy(),
            completed=Retention.from_job_option(
                wire.job_options.get("removeOnComplete"), default=Retention(age=3600, count=1000)
            ),
            backlog=None if wire.backlog is None else BacklogLimit(wire.backlog.limit, wire.backlog.when_full),
        )


class Registrations:
    """Every registration at one version of the registry; immutable."""

    def __init__(self, registrations: Iterable[Registration] = (), *, version: int = 0) -> None:
        self.version = version
        self.by_service: Mapping[str, Registration] = {entry.service: entry for entry in registrations}
        listeners: dict[str, list[Registration]] = {}
        for entry in sorted(self.by_service.values(), key=lambda entry: entry.service):
            for event_type in entry.listens_to:
                listeners.setdefault(event_type, []).append(entry)
        self.limits: Mapping[str, BacklogLimit] = {
            entry.service: entry.backlog for entry in self.by_service.values() if entry.backlog is not None
        }
        self._listeners = {event_type: tuple(entries) for event_type, entries in listeners.items()}

    def __bool__(self) -> bool:
        return bool(self.by_service)

    def listeners(self, event_type: str) -> tuple[Registration, ...]:
        """Who listens to this type, sorted by name."""
        return self._listeners.get(event_type, ())


def route(envelope: Envelope, registrations: Registrations) -> tuple[Registration, ...]:
    """Who gets a copy: every service that listens, never the origin."""
    return tuple(entry for entry in registrations.listeners(envelope.type) if entry.service != envelope.source)


def scheduler_of(service: str) -> str:
    """The id of the job scheduler that repeats a service's registration."""
    return f"{REGISTRATION_JOB}.{service}"


def check_service_name(name: str) -> str:
    """The name itself, if a queue can be named by it.

    Raises:
        InvalidNameError: It is reserved, or has characters that BullMQ or Redis would misread.
    """
    if name in RESERVED_NAMES:
        raise InvalidNameError(
            f"expected a service name, got {name!r}, which is reserved ({', '.join(sorted(RESERVED_NAMES))})"
        )
    if not _SERVICE_NAME.fullmatch(name):
        raise InvalidNameError(
            f"expected a service name of up to 64 lower-case letters, digits, '-' or '_', got {name[:80]!r}"
        )
    return name
