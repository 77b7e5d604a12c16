"""The names of Redis' keys: BullMQ's own (the layout of BullMQ 6), and the few that we add beside them."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from functools import cached_property

__all__ = ["BROKER_QUEUE", "Layout", "QueueKeys"]

BROKER_QUEUE = "broker"
_GLOB = re.compile(r"([\\*?\[\]])")

_QUEUE_KEYS = (
    "wait",
    "active",
    "prioritized",
    "delayed",
    "completed",
    "failed",
    "events",
    "marker",
    "meta",
    "id",
    "pc",
    "stalled",
    "limiter",
    "paused",
)
"""What `queue_at` in scripts/include/queue.lua expects, in this order."""


@dataclass(frozen=True)
class QueueKeys:
    """The keys of one BullMQ queue."""

    prefix: str
    queue: str

    @cached_property
    def base(self) -> str:
        """Before every key of the queue; a job's hash is this and its id."""
        return f"{self.prefix}:{self.queue}:"

    @cached_property
    def all(self) -> tuple[str, ...]:
        """The block of keys that a script takes for one queue."""
        return tuple([self.base + name for name in _QUEUE_KEYS])

    @property
    def marker(self) -> str:
        """What idle workers block on."""
        return self.base + "marker"

    @property
    def stalled_check(self) -> str:
        """Held while a check for stalled jobs is fresh."""
        return self.base + "stalled-check"

    @property
    def scheduler(self) -> str:
        """BullMQ's job schedulers, by the time of their next job."""
        return self.base + "repeat"

    @property
    def worker_client_name(self) -> str:
        """The Redis client name by which BullMQ's getWorkers() finds a worker."""
        return f"{self.prefix}:{base64.b64encode(self.queue.encode()).decode()}"

    def job(self, job_id: str) -> str:
        """The hash of one job."""
        return self.base + job_id


@dataclass(frozen=True)
class Layout:
    """Every key under one prefix."""

    prefix: str
    _queues: dict[str, QueueKeys] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def pattern(self) -> str:
        """What SCAN takes for every key under the prefix, and for no other: a prefix may have glob's own characters."""
        return _GLOB.sub(r"\\\1", self.prefix) + ":*"

    def queue(self, name: str) -> QueueKeys:
        """The keys of a service's queue, or of the broker's; made once, since a router needs them at every call."""
        keys = self._queues.get(name)
        if keys is None:
            keys = self._queues[name] = QueueKeys(self.prefix, name)
        return keys

    @property
    def broker(self) -> QueueKeys:
        """The keys of the broker's queue."""
        return self.queue(BROKER_QUEUE)

    @property
    def version(self) -> str:
        """Number: the version of all that is under the prefix; a process that knows only older ones stops."""
        return f"{self.prefix}:layout"

    @property
    def registry(self) -> str:
        """Hash: service -> its registration as JSON."""
        return f"{self.prefix}:registry"

    @property
    def registry_counters(self) -> str:
        """Hash: service -> the number of the registration job that wrote its entry."""
        return f"{self.prefix}:registry:counters"

    @property
    def registry_version(self) -> str:
        """Number: moves when a route changes."""
        return f"{self.prefix}:registry:version"

    @property
    def full(self) -> str:
        """JSON: event type -> full services that refuse it; for a few seconds, and only while there are any."""
        return f"{self.prefix}:registry:full"

    @property
    def unregistered(self) -> str:
        """Hash: service that was taken out of the registry on purpose -> when, in ms."""
        return f"{self.prefix}:registry:unregistered"

    def registry_changes(self, service: str) -> str:
        """List: the last registrations that changed a service's entry, with when and by whom, the newest first."""
        return f"{self.prefix}:registry:changes:{service}"

    @property
    def seen(self) -> str:
        """Before the time-bucketed sets of event digests."""
        return f"{self.prefix}:seen"

    @property
    def senders(self) -> str:
        """Hash: event type and service -> when the service last sent it, in ms."""
        return f"{self.prefix}:senders"

    def rejected(self, queue: str) -> str:
        """Sorted set: the rejected events among the failed jobs of a queue, by time."""
        return f"{self.prefix}:rejected:{queue}"

    def redrive(self, queue: str) -> str:
        """Hash: how far the last redrive of a queue is, or was."""
        return f"{self.prefix}:redrive:{queue}"

    def redrive_lock(self, queue: str) -> str:
        """Text: the token of the redrive that is under way; it goes by itself when that dies."""
        return f"{self.prefix}:redrive:{queue}:lock"

    def discarded(self, queue: str) -> str:
        """List: how many dead letters of a queue were discarded, when and why, the newest first."""
        return f"{self.prefix}:discarded:{queue}"

    def presence(self, service: str) -> str:
        """Sorted set: instances of a service, by when each was last heard of."""
        return f"{self.prefix}:presence:{service}"

    def open_breakers(self, service: str) -> str:
        """Sorted set: workers of a service that are slowed down, by when (ms) that is forgotten."""
        return f"{self.presence(service)}:breakers"
