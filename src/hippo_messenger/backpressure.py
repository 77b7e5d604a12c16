"""Keeps the services' limits of waiting jobs: looks how many wait, says who is full, and holds what is for those."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence

from hippo_messenger.backlog import hold_delay, without_room
from hippo_messenger.errors import RedisError
from hippo_messenger.intake import ReceivedEvent
from hippo_messenger.log import log
from hippo_messenger.observer import Observer
from hippo_messenger.queues.delivery import Outcome
from hippo_messenger.queues.registry import Registry
from hippo_messenger.registration import Registrations
from hippo_messenger.settings import Settings

__all__ = ["Backpressure"]

_CALM = 30.0
"""For how long (s) a service must have had room before that is said: around the limit it comes and goes."""


class Backpressure:
    """What a broker does about limits; without any in the registrations it calls nothing."""

    def __init__(self, registry: Registry, *, settings: Settings, observer: Observer) -> None:
        self._registry = registry
        self._settings = settings
        self._observer = observer
        self._last_full: dict[str, float] = {}

    async def sort(
        self, events: Sequence[ReceivedEvent], services: Sequence[Sequence[str]], registrations: Registrations
    ) -> tuple[list[ReceivedEvent], list[Outcome]]:
        """The events that may be routed now, and for the others that they are put back for a while.

        Args:
            events: What is to be routed.
            services: For each event who gets a copy.
            registrations: Say the limits.
        """
        limits = registrations.limits
        if not any(name in limits for names in services for name in names):
            return list(events), []
        room = await self._room(registrations, patience=None)
        going: list[ReceivedEvent] = []
        held: list[Outcome] = []
        for event, full in zip(events, without_room(services, room), strict=True):
            if not full:
                going.append(event)
                continue
            held.append(Outcome.later(event.job, delay=self._delay(event)))
            self._observer.held(event.envelope.type, origin=event.envelope.source, services=full)
        return going, held

    async def watch(self) -> None:
        """Look once how the services with a limit stand, so that senders are refused for as long as they are full.

        It goes by the registry itself: a broker that has nothing to route does not notice that a limit was lifted.
        """
        try:
            registrations = await self._registry.load()
            await self._room(registrations, patience=0)
        except RedisError as error:  # the next look is another chance
            self._observer.trouble(error)

    def _delay(self, event: ReceivedEvent) -> float:
        times_held = event.job.attempts_started - 1
        return hold_delay(times_held, shortest=self._settings.backlog_hold, chance=random.random())

    async def _room(self, registrations: Registrations, *, patience: float | None) -> Mapping[str, int]:
        limits = registrations.limits
        lasting = 5 * self._settings.backlog_check
        waiting = await self._registry.backlogs(registrations, lasting=lasting, patience=patience)
        self._say(registrations, waiting)
        return {service: limit.jobs - waiting[service] for service, limit in limits.items()}

    def _say(self, registrations: Registrations, waiting: Mapping[str, int]) -> None:
        """Who became full, and who has had room for a while; each once."""
        now = time.monotonic()
        for service, limit in registrations.limits.items():
            if waiting[service] >= limit.jobs:
                if service not in self._last_full:
                    what = "held" if limit.when_full == "hold" else "refused at send, and those on their way held"
                    log.warning(
                        "%s is full: %d jobs wait, its limit is %d; events for it are %s until there is room",
                        *(service, waiting[service], limit.jobs, what),
                    )
                self._last_full[service] = now
            elif service in self._last_full and now - self._last_full[service] >= _CALM:
                del self._last_full[service]
                log.info("%s has room again: %d jobs wait, its limit is %d", service, waiting[service], limit.jobs)
