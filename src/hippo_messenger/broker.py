"""The message broker: keeps registrations, validates each event, and puts a copy into the queue of every listener."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from types import TracebackType
from typing import Self

from hippo_messenger.backoff import Backoff
from hippo_messenger.backpressure import Backpressure
from hippo_messenger.catalogue.catalogue import Catalogue
from hippo_messenger.clash import find_clash
from hippo_messenger.errors import (
    EventTooLargeError,
    InvalidRegistrationError,
    LayoutTooNewError,
    MessengerClosedError,
    RedisError,
    UnknownServiceError,
)
from hippo_messenger.health import Health, Pulse
from hippo_messenger.intake import Intake, ReceivedEvent
from hippo_messenger.log import log
from hippo_messenger.observer import Observer
from hippo_messenger.queues.call import Caller
from hippo_messenger.queues.clock import Clock
from hippo_messenger.queues.connection import Connection, RedisSource
from hippo_messenger.queues.delivery import TAKE_BYTES, Order, Outcome, QueuedJob, Routed, Routing, Taken
from hippo_messenger.queues.layout import Layout
from hippo_messenger.queues.queue import Queue, event_digest
from hippo_messenger.queues.registry import Registry
from hippo_messenger.queues.schedule import Schedule
from hippo_messenger.queues.upkeep import Upkeep
from hippo_messenger.registration import REGISTRATION_JOB, Maker, Registrations, Retention, route
from hippo_messenger.settings import Settings
from hippo_messenger.shutdown import Shutdown
from hippo_messenger.supervision import Supervision

__all__ = ["HippoBroker"]

_STOP_TIME = 5.0
"""How long (s) a broker that stops tries to finish its batch; after that it is recovered as stalled."""
_SENDERS_INTERVAL = 60.0


class HippoBroker:
    """Routes events until it is stopped; as many as you like work side by side on one Redis, without a leader."""

    def __init__(
        self,
        *,
        redis_connection: RedisSource | None = None,
        catalogue: Catalogue | None = None,
        settings: Settings | None = None,
        observer: Observer | None = None,
    ) -> None:
        """Put a broker together; nothing touches Redis before it is started.

        Args:
            redis_connection: A URL, "embedded", or a `redis.asyncio` client whose settings are taken over; left out,
                `HIPPO_REDIS_URL` or `REDIS_URL`.
            catalogue: What may be said; left out, `HIPPO_CATALOGUE` or Golden Hippo's.
            settings: Left out, the defaults with the variables `HIPPO_*`.
            observer: Told what happens.
        """
        self._settings = settings or Settings.from_environment()
        self._intake = Intake(catalogue or Catalogue.from_environment(), max_bytes=self._settings.max_event_bytes)
        self._observer = observer or Observer()
        self._connection = Connection.of(redis_connection, settings=self._settings)
        self._layout = Layout(self._settings.prefix)
        self._caller = caller = Caller(self._connection, observer=self._observer)
        self._queue = Queue(
            self._connection,
            self._layout.broker,
            caller=caller,
            events_stream=self._settings.events_stream,
            metrics_minutes=self._settings.metrics_minutes,
        )
        self._clock = Clock(caller, self._layout)
        self._registry = Registry(self._connection, self._layout, caller=caller)
        self._schedule = Schedule(self._connection, settings=self._settings)
        self._upkeep = Upkeep(
            self._queue,
            lock=self._settings.broker_lock,
            check=self._settings.broker_stall_check,
            max_stalls=self._settings.broker_max_stalls,
            observer=self._observer,
        )
        self._backpressure = Backpressure(self._registry, settings=self._settings, observer=self._observer)
        self._supervision = Supervision("message broker", observer=self._observer)
        self._pulse = Pulse(limit=2 * self._settings.block_timeout)
        self._wait_again = Backoff(first=0.05, longest=0.8)
        self._registrations = Registrations()
        self._senders_noted: dict[tuple[str, str], float] = {}
        self._told_empty = False
        self._keep = Retention(age=self._settings.completed_age, count=self._settings.completed_count)
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def health(self) -> Health:
        """Whether it routes; not ready when it has not polled its queue for twice `block_timeout`."""
        stopped = ""
        if self._supervision.fault is not None:
            stopped = str(self._supervision.fault)
        elif not self._tasks:
            stopped = "it was stopped" if self._stopping.is_set() else "it was not started yet"
        return self._pulse.health(stopped=stopped, redis_ok=self._connection.answers)

    async def start(self) -> None:
        """Connect, read the registry and begin to route.

        Raises:
            RedisError: Redis can't be used; nothing was started.
        """
        if self._stopping.is_set():
            raise MessengerClosedError("expected a broker that was not stopped yet; make a new one")
        await self._connection.open()
        self._registrations = await self._registry.load()
        await self._queue.show_up()
        supervision = self._supervision
        self._pulse.beat()
        self._tasks = [
            supervision.start("routing", self._route_all),
            supervision.start("renewing", self._upkeep.renew),
            supervision.start("recovering", self._upkeep.recover),
            supervision.start("schedule", self._keep_schedule),
            supervision.start("backlogs", self._watch_backlogs),
            supervision.watch(lambda: self.health, every=self._settings.block_timeout / 4),
        ]
        log.info("message broker: routing on %s", self._connection.description)

    async def run(self) -> None:
        """Route until SIGINT or SIGTERM, then finish the batch in hand.

        Raises:
            LayoutTooNewError: A newer version of this package keeps the queues; it has stopped.
        """
        with Shutdown() as shutdown:
            await self.start()
            try:
                await self._until(shutdown)
            finally:
                await self.stop()

    async def stop(self) -> None:
        """Finish the batch in hand and close what this broker opened; may be called again."""
        self._stopping.set()
        if self._tasks:
            tasks, self._tasks = self._tasks, []
            await asyncio.wait(tasks[:1], timeout=_STOP_TIME)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await self._connection.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _until(self, shutdown: Shutdown) -> None:
        asked = asyncio.create_task(shutdown.asked())
        gave_up = asyncio.create_task(self._supervision.gave_up())
        await asyncio.wait([asked, gave_up], return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        gave_up.cancel()
        if self._supervision.fault is not None:
            raise self._supervision.fault

    async def _keep_schedule(self) -> None:
        await self._schedule.keep(self._registry, caller=self._caller, observer=self._observer)

    async def _route_all(self) -> None:
        await self._handle_left()
        hand: deque[QueuedJob] = deque()
        taken = Taken()
        while not self._stopping.is_set():
            if hand:
                taken = await self._route_in_hand(hand)
            else:
                taken = await self._next(taken)
                if taken.jobs:
                    hand += await self._events_among(taken.jobs)
                    taken = Taken()
            self._pulse.beat()
        await self._settle([Outcome.back(job) for job in reversed(hand)])

    async def _watch_backlogs(self) -> None:
        while True:
            await asyncio.sleep(self._settings.backlog_check)
            if self._registrations.limits:
                await self._backpressure.watch()

    async def _handle_left(self) -> None:
        """After a fault, what that has left: each job by itself, so that one that can't be handled harms no other."""
        for job in self._upkeep.held:
            try:
                events = await self._read_some(deque(await self._events_among([job])))
                await self._route(events, self._order(count=0))
            except LayoutTooNewError:
                raise
            except Exception as error:
                log.exception("a fault of the broker itself, at job %s", job.id)
                await self._settle([Outcome.failed(job, f"a fault of the broker itself: {error!r}")])

    async def _next(self, taken: Taken) -> Taken:
        """The next jobs; comes back empty when the broker stops or something may have changed."""
        if not taken.looked:
            taken = await self._queue.take(self._order())
            if taken.jobs:
                return self._held(taken)
        timeout = min(self._settings.block_timeout, taken.limited_for or self._settings.block_timeout)
        if taken.due_in is not None:
            timeout = min(timeout, taken.due_in)
        waiting = asyncio.create_task(self._wait(timeout))
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([waiting, stopping], return_when=asyncio.FIRST_COMPLETED)
        for task in (waiting, stopping):
            task.cancel()
        await asyncio.gather(waiting, stopping, return_exceptions=True)
        return Taken()

    async def _wait(self, timeout: float) -> None:
        try:
            await self._queue.wait(max(timeout, 0.001))
            self._wait_again.reset()
        except RedisError as error:
            await asyncio.sleep(self._wait_again.next())
            self._observer.trouble(error)

    async def _events_among(self, jobs: Sequence[QueuedJob]) -> list[QueuedJob]:
        """The jobs that are left when registrations are taken, and settled what is to fail unread."""
        outcomes: list[Outcome] = []
        left: list[QueuedJob] = []
        for job in jobs:
            if job.deferred_failure is not None:
                outcomes.append(Outcome.failed(job, job.deferred_failure))
            elif job.name == REGISTRATION_JOB:
                outcomes.append(await self._register(job))
            else:
                left.append(job)
        await self._settle(outcomes)
        return left

    async def _route_in_hand(self, hand: deque[QueuedJob]) -> Taken:
        """Route events call by call, in their order, until none is in hand; what the last call found.

        Each call brings the next events; while Redis does it, those that came before are read.
        """
        taken = Taken()
        events = await self._read_some(hand)
        while events:
            call = asyncio.create_task(self._route(events, self._order(count=self._room(hand))))
            try:
                await asyncio.sleep(0)  # the call is on its way from here on
                following = await self._read_some(hand)
            except BaseException:
                call.cancel()
                await asyncio.wait([call])
                raise
            taken = await call
            self._pulse.beat()
            if taken.jobs:
                hand += await self._events_among(taken.jobs)
                taken = Taken()
            if self._stopping.is_set():
                hand.extendleft(event.job for event in reversed(following))
                break
            events = following or await self._read_some(hand)
        return taken

    def _room(self, hand: Collection[QueuedJob]) -> int:
        """How many events more to take into the hand: none while those in it are as large as a take may be."""
        is_laden = sum(len(job.data) for job in hand) >= TAKE_BYTES
        return 0 if is_laden else max(self._settings.broker_batch - len(hand), 0)

    async def _read_some(self, jobs: deque[QueuedJob]) -> list[ReceivedEvent]:
        """The events of the first jobs, about as many as one call may route; what is none is settled."""
        events: list[ReceivedEvent] = []
        outcomes: list[Outcome] = []
        deliveries = 0
        most = -(-self._settings.broker_batch // 2)  # so that there is something left to read while they are routed
        while jobs and len(events) < most and deliveries < self._settings.broker_batch_deliveries:
            decided = self._intake.read(jobs.popleft(), self._registrations)
            if isinstance(decided, ReceivedEvent) and decided.envelope.expires is not None:
                decided = await self._unless_expired(decided, decided.envelope.expires)
            if isinstance(decided, ReceivedEvent):
                events.append(decided)
                deliveries += max(len(self._registrations.listeners(decided.envelope.type)), 1)
            else:
                outcomes.append(decided)
        await self._settle(outcomes)
        return events

    async def _unless_expired(self, event: ReceivedEvent, expiry: datetime) -> ReceivedEvent | Outcome:
        """The event, or that it is past its time; the clock is asked for events that have one alone."""
        if await self._clock.now(patience=None) < expiry:
            return event
        self._observer.expired(event.envelope.type, origin=event.envelope.source, queue=self._queue.name)
        return Outcome.expired(event.job, expiry, keep=self._keep)

    async def _register(self, job: QueuedJob) -> Outcome:
        """Write a registration and make its repeat job anew; or, when that ticks, repair what it finds."""
        try:
            if job.scheduler is not None:
                await self._schedule.advance(job)
            registration, number = self._intake.read_registration(job)
            if self._registrations and await self._registry.is_lost():
                await self._reload(patience=self._settings.call_timeout)  # before it has a version again
            written = await self._registry.write(
                registration,
                number=number,
                maker=Maker.from_wire(job.data),
                patience=self._settings.call_timeout,
            )
            if job.scheduler is None and written != "older":
                await self._schedule.replace(registration, number=number)
        except (EventTooLargeError, InvalidRegistrationError, UnknownServiceError) as error:
            log.warning("registration %s is refused: %s", job.id, error)
            return Outcome.failed(job, f"{type(error).__name__}: {error}")
        except (RedisError, TimeoutError) as error:
            if isinstance(error, RedisError):
                self._observer.trouble(error)
            log.warning("registration %s has to wait: %s", job.id, error)
            return Outcome.later(job, delay=1.0)
        except Exception as error:  # a tick that somebody made up, say: one job must not take the broker with it
            log.exception("registration %s could not be taken", job.id)
            return Outcome.failed(job, f"taking it raised {type(error).__name__}: {error}")
        if written == "changed":
            self._registrations = await self._registry.load(patience=None)
            log.info("%s listens to %s", registration.service, ", ".join(sorted(registration.listens_to)) or "nothing")
            await self._look_for_clash(registration.service)
        result = {"service": registration.service, "listensTo": sorted(registration.listens_to), "registry": written}
        return Outcome.completed(job, json.dumps(result).encode(), keep=self._keep)

    async def _look_for_clash(self, service: str) -> None:
        """Say so where this registration undid that of another deployment."""
        try:
            changes = await self._registry.changes(service)
        except RedisError as error:  # the next change is another chance
            self._observer.trouble(error)
            return
        clash = find_clash(changes, now=changes[0].at) if changes else None
        if clash is not None:
            log.warning("%s", clash)
            self._observer.clashed(clash)

    async def _reload(self, *, patience: float | None) -> None:
        """Read the registry anew; one that Redis has lost as a whole is first written back, as this broker knows it."""
        known = self._registrations
        self._registrations = await self._registry.load(patience=patience)
        if known and not self._registrations and await self._registry.restore(known, patience=patience):
            log.warning("the registry was lost: %d services stand as before until they register", len(known.by_service))
            self._registrations = await self._registry.load(patience=patience)

    async def _settle(self, outcomes: Sequence[Outcome]) -> None:
        if not outcomes:
            return
        await self._queue.settle(outcomes, self._order(count=0))
        for outcome in outcomes:
            self._upkeep.let_go(outcome.job)
        for outcome in outcomes:
            self._observer.settled(outcome.job.name, queue=self._queue.name, outcome=outcome.kind)

    async def _route(self, events: Sequence[ReceivedEvent], order: Order) -> Taken:
        """Route all events, in calls of bounded size; the last one takes what comes next, unless the broker stops."""
        left = await self._hold_back(events)
        while left:
            if not self._registrations and not await self._somebody_listens():
                await self._settle(
                    [Outcome.later(event.job, delay=self._settings.empty_registry_delay) for event in left]
                )
                return Taken()
            batch = self._bounded(left)
            last = len(batch) == len(left)
            routed = await self._queue.route(
                [routing for _, routing in batch],
                order if last and not self._stopping.is_set() else self._order(count=0),
                layout=self._layout,
                version=self._registrations.version,
                window=self._settings.deduplication_window,
                keep=self._keep,
            )
            if routed.stale:
                await self._reload(patience=None)
                continue
            for event, _ in batch:
                self._upkeep.let_go(event.job)
            taken = self._held(routed.taken)
            self._report(batch, routed)
            await self._note_senders(batch)
            left = left[len(batch) :]
            if last:
                return taken
        return Taken()

    async def _hold_back(self, events: Sequence[ReceivedEvent]) -> list[ReceivedEvent]:
        """What is left to route when events for full services are put back."""
        if not self._registrations.limits:
            return list(events)
        services = [[entry.service for entry in self._routing(event).services] for event in events]
        going, held = await self._backpressure.sort(events, services, self._registrations)
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
            services = route(event.envelope, self._registrations)
            digest = event_digest(event.envelope.source, event.envelope.id)
        else:
            by_service = self._registrations.by_service
            services = tuple(by_service[name] for name in sorted(event.deliver_to) if name in by_service)
            digest = b""
        return Routing(event.job, event.envelope.id, digest, services, extra=event.extra)

    async def _somebody_listens(self) -> bool:
        self._registrations = await self._registry.load(patience=None)
        if not self._registrations and not self._told_empty:
            log.warning("no service is registered: events are put back until one is")
        self._told_empty = not self._registrations
        return bool(self._registrations)

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
            if status == "routed":
                names = tuple(entry.service for entry in routing.services)
                self._observer.routed(event.envelope.type, origin=origin, services=names)
            elif status == "duplicate":
                self._observer.duplicate(event.envelope.type, origin=origin)
            else:
                self._observer.lost(event.job.id, queue=self._queue.name)
        types = {event.envelope.id: event.envelope.type for event, _ in batch}
        for parked in routed.parked:
            log.error("event %s is parked for %s: %s", parked.event_id, parked.service, parked.reason)
            self._observer.parked(types[parked.event_id], service=parked.service, reason=parked.reason)

    def _held(self, taken: Taken) -> Taken:
        for job in taken.jobs:
            self._upkeep.hold(job)
        for job_id in taken.broken:
            log.error("job %s of the broker queue is gone or unreadable; it is put aside", job_id)
        return taken

    def _order(self, *, count: int | None = None) -> Order:
        settings = self._settings
        wanted = settings.broker_batch if count is None else count
        return Order(wanted, lock=settings.broker_lock, max_bytes=min(settings.broker_batch_bytes, TAKE_BYTES))
