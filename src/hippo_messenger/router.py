"""Gives each event to every service that listens: who that is, how much goes into a call, and what became of it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace

from hippo_messenger.backpressure import Backpressure
from hippo_messenger.errors import RedisError, UnknownServiceError
from hippo_messenger.intake import ReceivedEvent
from hippo_messenger.log import log
from hippo_messenger.observer import Observer
from hippo_messenger.queues.delivery import Order, Outcome, QueuedJob, Routed, Routing, Taken
from hippo_messenger.queues.layout import Layout
from hippo_messenger.queues.queue import Queue, event_digest
from hippo_messenger.queues.registry import Registry
from hippo_messenger.queues.upkeep import Upkeep
from hippo_messenger.registrar import Registrar
from hippo_messenger.registration import Retention, route
from hippo_messenger.settings import Settings

__all__ = ["Router"]

_SENDERS_INTERVAL = 60.0


class Router:
    """Routes events that were read; each gets all its copies and leaves the broker's queue in one atomic step."""

    def __init__(
        self,
        queue: Queue,
        layout: Layout,
        *,
        upkeep: Upkeep,
        registrar: Registrar,
        registry: Registry,
        backpressure: Backpressure,
        settle: Callable[[Sequence[Outcome]], Awaitable[None]],
        keep: Retention,
        settings: Settings,
        observer: Observer,
    ) -> None:
        """Put one together; `settle` ends jobs that are not routed now, `keep` is how long those are kept that are."""
        self._queue = queue
        self._layout = layout
        self._upkeep = upkeep
        self._registrar = registrar
        self._registry = registry
        self._backpressure = backpressure
        self._settle = settle
        self._settings = settings
        self._observer = observer
        self._keep = keep
        self._senders_noted: dict[tuple[str, str], float] = {}

    async def route(self, events: Sequence[ReceivedEvent], order: Order) -> Taken:
        """Route all events, in their order and in calls of bounded size; the last call takes what `order` says."""
        left = await self._hold_back(events)
        while left:
            if not self._registrar.known and not await self._registrar.somebody_listens():
                await self._settle(
                    [Outcome.later(event.job, delay=self._settings.empty_registry_delay) for event in left]
                )
                return Taken()
            batch = self._bounded(left)
            if strays := [event for event, routing in batch if _is_stray(event, routing)]:
                gone = await self._fail_strays(strays)
                left = [event for event in left if event.job not in gone]
                continue
            last = len(batch) == len(left)
            routed = await self._queue.route(
                [routing for _, routing in batch],
                order if last else replace(order, count=0),
                layout=self._layout,
                version=self._registrar.known.version,
                window=self._settings.deduplication_window,
                keep=self._keep,
            )
            if routed.stale:
                await self._registrar.reload()
                continue
            self._upkeep.hold(routed.taken)
            self._report(batch, routed)
            await self._note_senders(batch)
            left = left[len(batch) :]
            if last:
                return routed.taken
        return Taken()

    async def _fail_strays(self, strays: Iterable[ReceivedEvent]) -> list[QueuedJob]:
        """Fail parked copies for services that are gone, which must not swallow them; the jobs of those.

        Whether one is gone the registry says: a view of it that nobody has checked may be outdated.
        """
        await self._registrar.reload()
        by_service = self._registrar.known.by_service
        outcomes = []
        for event in strays:
            missing = sorted((event.deliver_to or frozenset()) - by_service.keys())
            if missing:
                error = UnknownServiceError(missing[0], by_service)
                log.warning("event %s (%s) is not delivered: %s", event.job.id, event.job.name, error)
                outcomes.append(Outcome.failed(event.job, f"{type(error).__name__}: {error}"))
        await self._settle(outcomes)
        return [outcome.job for outcome in outcomes]

    async def _hold_back(self, events: Sequence[ReceivedEvent]) -> list[ReceivedEvent]:
        """What is left to route when events for full services are put back."""
        if not self._registrar.known.limits:
            return list(events)
        services = [[entry.service for entry in self._routing(event).services] for event in events]
        going, held = await self._backpressure.sort(events, services, self._registrar.known)
        await self._settle(held)
        return going

    def _bounded(self, events: Iterable[ReceivedEvent]) -> list[tuple[ReceivedEvent, Routing]]:
        """As many of the first events as one call may write copies of; at least one."""
        batch: list[tuple[ReceivedEvent, Routing]] = []
        deliveries, size = 0, 0
        for event in events:
            routing = self._routing(event)
            deliveries += max(len(routing.services), 1)
            size += len(event.job.data) * len(routing.services)
            too_many = deliveries > self._settings.broker_batch_deliveries or size > self._settings.broker_batch_bytes
            if batch and too_many:
                break
            batch.append((event, routing))
        return batch

    def _routing(self, event: ReceivedEvent) -> Routing:
        if event.deliver_to is None:
            services = route(event.envelope, self._registrar.known)
            digest = event_digest(event.envelope.source, event.envelope.id)
        else:
            by_service = self._registrar.known.by_service
            services = tuple(by_service[name] for name in sorted(event.deliver_to) if name in by_service)
            digest = b""
        return Routing(event.job, event.envelope.id, digest, services, extra=event.extra)

    async def _note_senders(self, batch: Sequence[tuple[ReceivedEvent, Routing]]) -> None:
        """Note who sends what, for those who look; each pair about once a minute."""
        now = time.monotonic()
        pairs = {(event.envelope.type, event.envelope.source) for event, _ in batch}
        due = [pair for pair in pairs if now - self._senders_noted.get(pair, -_SENDERS_INTERVAL) >= _SENDERS_INTERVAL]
        if not due:
            return
        self._senders_noted |= dict.fromkeys(due, now)
        try:
            await self._registry.note_senders(due)
        except RedisError as error:  # it is noted next time
            self._observer.trouble(error)

    def _report(self, batch: Sequence[tuple[ReceivedEvent, Routing]], routed: Routed) -> None:
        for (event, routing), status in zip(batch, routed.statuses, strict=True):
            origin = event.envelope.source
            self._upkeep.let_go(event.job, lost=status == "lost")
            if status == "routed":
                names = tuple(entry.service for entry in routing.services)
                self._observer.routed(event.envelope.type, origin=origin, services=names)
            elif status == "duplicate":
                self._observer.duplicate(event.envelope.type, origin=origin)
        types = {event.envelope.id: event.envelope.type for event, _ in batch}
        for parked in routed.parked:
            log.error("event %s is parked for %s: %s", parked.event_id, parked.service, parked.reason)
            self._observer.parked(types[parked.event_id], service=parked.service, reason=parked.reason)


def _is_stray(event: ReceivedEvent, routing: Routing) -> bool:
    """Whether it is a parked copy for a service that seems not to be registered any more."""
    return event.deliver_to is not None and len(routing.services) < len(event.deliver_to)
