"""The message broker: keeps registrations, validates each event, and puts a copy into the queue of every listener."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Sequence
from datetime import datetime
from types import TracebackType
from typing import Self

from hippo_messenger.backoff import Backoff
from hippo_messenger.backpressure import Backpressure
from hippo_messenger.catalogue.catalogue import Catalogue
from hippo_messenger.errors import (
    LayoutTooNewError,
    MessengerClosedError,
    RedisError,
)
from hippo_messenger.health import Health, Pulse
from hippo_messenger.intake import Intake, ReceivedEvent
from hippo_messenger.log import log
from hippo_messenger.observer import Observer, guarded
from hippo_messenger.queues.call import Caller
from hippo_messenger.queues.clock import Clock
from hippo_messenger.queues.connection import Connection, RedisSource
from hippo_messenger.queues.delivery import TAKE_BYTES, Order, Outcome, QueuedJob, Taken
from hippo_messenger.queues.layout import Layout
from hippo_messenger.queues.queue import Queue
from hippo_messenger.queues.registry import Registry
from hippo_messenger.queues.schedule import Schedule
from hippo_messenger.queues.upkeep import Upkeep
from hippo_messenger.registrar import Registrar
from hippo_messenger.registration import REGISTRATION_JOB, Retention
from hippo_messenger.router import Router
from hippo_messenger.settings import Settings
from hippo_messenger.shutdown import Shutdown
from hippo_messenger.supervision import Supervision

__all__ = ["HippoBroker"]

_STOP_TIME = 5.0
"""How long (s) a broker that stops tries to finish its batch; after that it is recovered as stalled."""
_WAKE_TIME = 1.0
"""How long (s) it tries to wake another one."""


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
        self._observer = guarded(observer)
        self._keep = Retention(age=self._settings.completed_age, count=self._settings.completed_count)
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
        self._registrar = Registrar(
            self._registry,
            schedule=self._schedule,
            intake=self._intake,
            observer=self._observer,
            patience=self._settings.call_timeout,
            keep=self._keep,
        )
        self._router = Router(
            self._queue,
            self._layout,
            upkeep=self._upkeep,
            registrar=self._registrar,
            registry=self._registry,
            backpressure=self._backpressure,
            settle=self._settle,
            keep=self._keep,
            settings=self._settings,
            observer=self._observer,
        )
        self._supervision = Supervision("message broker", observer=self._observer)
        self._pulse = Pulse(limit=2 * self._settings.block_timeout)
        self._wait_again = Backoff(first=0.05, longest=0.8)
        self._started = self._stopping = False
        self._idle: asyncio.Timeout | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def health(self) -> Health:
        """Whether it routes; not ready when it has not polled its queue for twice `block_timeout`."""
        stopped = self._supervision.why_idle(started=bool(self._tasks), stopping=self._stopping)
        return self._pulse.health(stopped=stopped, redis_ok=self._connection.answers)

    async def start(self) -> None:
        """Connect, read the registry and begin to route; once only, unless it failed.

        Raises:
            RedisError: Redis can't be used; nothing was started.
            MessengerClosedError: It was started already, or is stopped.
        """
        if self._started or self._stopping:
            raise MessengerClosedError("expected a broker that was not started yet; make a new one")
        self._started = True
        try:
            await self._connection.open()
            await self._registrar.load()
            await self._queue.show_up()
            self._check_not_stopped()
        except BaseException as error:
            self._started = False
            await self._queue.leave()
            await self._connection.hang_up()
            if isinstance(error, RedisError):
                self._check_not_stopped()  # then that is why
            raise
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
            RedisError: It could not start.
            LayoutTooNewError: A newer version of this package keeps the queues; it has stopped.
        """
        with Shutdown() as shutdown:
            await self.start()
            try:
                await shutdown.asked_or(self._supervision.gave_up())
            finally:
                await self.stop()
            if self._supervision.fault is not None:
                raise self._supervision.fault

    async def stop(self) -> None:
        """Finish the batch in hand and close what this broker opened; may be called again."""
        self._stopping = True
        idle, self._idle = self._idle, None  # it can be ended once
        if idle is not None:
            idle.reschedule(asyncio.get_running_loop().time())
        try:
            if self._tasks:
                await asyncio.wait(self._tasks[:1], timeout=_STOP_TIME)
        finally:
            for task in self._tasks:
                task.cancel()
            try:
                await asyncio.gather(*self._tasks, return_exceptions=True)
                self._tasks.clear()
            finally:
                await self._connection.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _check_not_stopped(self) -> None:
        if self._stopping:
            raise MessengerClosedError("expected a broker that goes on, got one that was stopped while it started")

    async def _keep_schedule(self) -> None:
        await self._schedule.keep(self._registry, caller=self._caller, observer=self._observer)

    async def _route_all(self) -> None:
        await self._handle_left()
        hand: deque[QueuedJob] = deque()
        taken = Taken()
        while not self._stopping:
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
            if self._registrar.known.limits:
                await self._backpressure.watch()

    async def _handle_left(self) -> None:
        """After a fault, what that has left: each job by itself, so that one that can't be handled harms no other."""
        for job in self._upkeep.held:
            try:
                events = await self._read_some(deque(await self._events_among([job])))
                await self._router.route(events, self._order(count=0))
            except LayoutTooNewError:
                raise
            except Exception as error:
                log.exception("a fault of the broker itself, at job %s", job.id)
                await self._settle([Outcome.failed(job, f"a fault of the broker itself: {error!r}")])

    async def _next(self, taken: Taken) -> Taken:
        """The next jobs; comes back empty when the broker stops or something may have changed."""
        if not taken.looked:
            taken = await self._queue.take(self._order())
            self._upkeep.hold(taken)
            if taken.jobs:
                return taken
        if self._stopping:  # asked while that was under way; nobody would end the wait
            return Taken()
        try:
            async with asyncio.timeout(None) as self._idle:
                await self._wait(taken.wait_at_most(self._settings.block_timeout))
        except TimeoutError:  # the broker stops; Redis may have given it a wake-up that was for another one
            await self._wake_another()
        finally:
            self._idle = None
        return Taken()

    async def _wake_another(self) -> None:
        try:
            async with asyncio.timeout(_WAKE_TIME):
                await self._queue.wake()
        except (TimeoutError, RedisError) as error:  # whoever waits looks by itself before long
            log.warning("the message broker stops, and could not wake another one: %r", error)

    async def _wait(self, timeout: float) -> None:
        try:
            await self._queue.wait(timeout)
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
                outcomes.append(await self._registrar.take(job))
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
            call = asyncio.create_task(self._router.route(events, self._order(count=self._room(hand))))
            try:
                await asyncio.sleep(0)  # the call is on its way from here on
                following = await self._read_some(hand)
            except BaseException:
                call.cancel()
                await asyncio.gather(call, return_exceptions=True)
                raise
            taken = await call
            self._pulse.beat()
            if taken.jobs:
                hand += await self._events_among(taken.jobs)
                taken = Taken()
            if self._stopping:
                hand.extendleft(event.job for event in reversed(following))
                break
            events = following or await self._read_some(hand)
        return taken

    def _room(self, hand: Collection[QueuedJob]) -> int:
        """How many events more to take into the hand: none while those in it are as large as a take may be."""
        is_laden = sum(len(job.data) for job in hand) >= TAKE_BYTES
        return 0 if is_laden else max(self._settings.broker_batch - len(hand), 0)

    async def _read_some(self, jobs: deque[QueuedJob]) -> list[ReceivedEvent]:
        """The events of the first jobs, about as many as one call may route; what is none is settled.

        An event is taken to have as many listeners as the one before it: one too many would be a call of its own.
        """
        events: list[ReceivedEvent] = []
        outcomes: list[Outcome] = []
        deliveries = latest = 0
        most = -(-self._settings.broker_batch // 2)  # so that there is something left to read while they are routed
        while jobs and len(events) < most and deliveries + latest <= self._settings.broker_batch_deliveries:
            decided = self._intake.read(jobs.popleft())
            if isinstance(decided, ReceivedEvent) and decided.envelope.expires is not None:
                decided = await self._unless_expired(decided, decided.envelope.expires)
            if isinstance(decided, ReceivedEvent):
                events.append(decided)
                latest = max(len(self._registrar.known.listeners(decided.envelope.type)), 1)
                deliveries += latest
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

    async def _settle(self, outcomes: Sequence[Outcome]) -> None:
        if not outcomes:
            return
        settled = await self._queue.settle(outcomes, self._order(count=0))
        for outcome, status in zip(outcomes, settled.statuses, strict=True):
            self._upkeep.let_go(outcome.job, lost=status == "lost")
            if status == "settled":
                self._observer.settled(outcome.job.name, queue=self._queue.name, outcome=outcome.kind)

    def _order(self, *, count: int | None = None) -> Order:
        settings = self._settings
        wanted = settings.broker_batch if count is None else count
        return Order(wanted, lock=settings.broker_lock, max_bytes=min(settings.broker_batch_bytes, TAKE_BYTES))
