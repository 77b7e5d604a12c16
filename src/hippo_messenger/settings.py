"""Every default of the package, in one frozen object."""

from __future__ import annotations

import os
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hippo_messenger.errors import ConfigurationError

__all__ = ["Settings"]

_VARIABLE_PREFIX = "HIPPO_"


class Settings(BaseModel):
    """How messengers, brokers and workers behave; every field can also be a variable `HIPPO_<FIELD>`.

    Durations are seconds, sizes are bytes. All processes on one prefix should share `prefix`,
    `deduplication_window`, `registration_interval` and `max_event_bytes`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prefix: str = Field(default="{hippo}", pattern=r"^[^:\s]+$")
    """Before every key. The braces are a hash tag: all queues live in one slot of a Redis Cluster."""

    call_timeout: float = Field(default=5.0, gt=0)
    """The longest that one call to Redis, and so `send` and `register`, may take."""
    block_timeout: float = Field(default=10.0, ge=1)
    """The longest that an idle worker or broker waits on its queue before it looks by itself."""
    max_event_bytes: int = Field(default=1024 * 1024, ge=1024)
    """The largest event, as JSON: `send` refuses more, and brokers and workers fail it."""
    max_result_bytes: int = Field(default=64 * 1024, ge=0)
    """The largest return value of a processor, as JSON."""
    allow_eviction: bool = False
    """Take a Redis that drops keys when memory is short (events will be lost)."""
    events_stream: bool = True
    """Write BullMQ's events stream, for QueueEvents and dashboards; replicas get it, the append-only file doesn't."""

    metrics_minutes: int = Field(default=1440, ge=0)
    """For how many minutes each queue remembers how many jobs finished in it, as BullMQ's `getMetrics` reads it."""

    deduplication_window: float = Field(default=600.0, gt=0)
    """How long a second event with the same id and source is recognised."""
    completed_age: int = Field(default=3600, ge=0)
    """How long a completed job is kept for looking at."""
    completed_count: int = Field(default=1000, ge=0)
    """How many completed jobs a queue keeps for looking at."""
    rejected_count: int = Field(default=1000, ge=0)
    """How many rejected events a queue keeps for looking at."""
    rejected_bytes: int = Field(default=16 * 1024, ge=0)
    """How much of a rejected event is kept."""

    registration_interval: float = Field(default=300.0, gt=0)
    """The period of the repeat job that re-registers each service."""
    presence_interval: float = Field(default=30.0, gt=0)
    """How often a registered messenger says that it is there, and looks whether the registry still is."""
    empty_registry_delay: float = Field(default=1.0, gt=0)
    """How long an event is put back while no service at all is registered."""

    worker_lock: float = Field(default=30.0, gt=0)
    """How long a worker's lock on a job lasts unless it is renewed."""
    worker_stall_check: float = Field(default=15.0, gt=0)
    """How often a worker looks for jobs whose worker died."""
    worker_max_stalls: int = Field(default=1, ge=0)
    """How often a job may lose its worker before it becomes a dead letter."""
    worker_grace: float = Field(default=25.0, ge=0)
    """How long a worker that stops lets running processors finish."""
    worker_bytes: int = Field(default=64 * 1024 * 1024, ge=1)
    """At so many bytes of jobs in hand a worker takes no more, whatever slots it has free."""
    worker_block_warning: float = Field(default=1.0, ge=0)
    """After how long a worker says that a processor holds up the event loop; 0 never looks."""
    breaker_attempts: int = Field(default=20, ge=0, le=10_000)
    """Over so many of the last attempts a worker looks whether its processor fails everything; 0 never looks."""
    breaker_failures: float = Field(default=0.9, gt=0, le=1)
    """When such a part of them has failed, the breaker opens: jobs are tried one at a time until they succeed."""
    dead_letter_limit: int = Field(default=10_000, ge=1)
    """At so many dead letters a service's queue pauses itself: they are never dropped to make room."""
    unknown_type_delay: float = Field(default=30.0, gt=0)
    """How long a job whose type the worker has no processor for is put back."""
    unknown_type_patience: float = Field(default=3600.0, ge=0)
    """How long such a job is put back before it becomes a dead letter."""

    backlog_check: float = Field(default=1.0, gt=0)
    """How often a broker looks at the waiting jobs of the services that have a limit of them."""
    backlog_hold: float = Field(default=1.0, gt=0)
    """How long an event for a full service is put back at first; each time twice as long, up to 30 s."""

    broker_lock: float = Field(default=5.0, gt=0)
    """How long a broker's lock on an event lasts unless it is renewed."""
    broker_stall_check: float = Field(default=2.0, gt=0)
    """How often a broker looks for events whose broker died."""
    broker_max_stalls: int = Field(default=1000, ge=0)
    """How often an event may lose its broker: routing is atomic, so a dead broker says nothing about the event."""
    broker_batch: int = Field(default=120, ge=1)
    """How many events a broker has in hand, beside those that it is just routing."""
    broker_batch_deliveries: int = Field(default=120, ge=1)
    """How many copies one call may write."""
    broker_batch_bytes: int = Field(default=4 * 1024 * 1024, ge=1)
    """How many bytes of copies one call may write."""
    send_batch: int = Field(default=200, ge=1, le=1000)
    """How many concurrent sends go into one call."""
    send_batch_bytes: int = Field(default=1024 * 1024, ge=1)
    """How many bytes of concurrent sends go into one call."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """The defaults, overridden by the variables `HIPPO_<FIELD>` that are set.

        Raises:
            ConfigurationError: A variable has a value that its field doesn't take.
        """
        variables = os.environ if environ is None else environ
        given = {
            name: variables[_VARIABLE_PREFIX + name.upper()]
            for name in cls.model_fields
            if _VARIABLE_PREFIX + name.upper() in variables
        }
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            variable = _VARIABLE_PREFIX + str(first["loc"][0]).upper()
            raise ConfigurationError(f"{variable}: {first['msg']}, got {first['input']!r}") from None
