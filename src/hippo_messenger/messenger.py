"""The client object of one service: it registers, sets listeners, and sends."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Self, overload
from uuid import uuid4

from hippo_messenger.backlog import BacklogLimit
from hippo_messenger.catalogue.catalogue import Catalogue
from hippo_messenger.catalogue.model import EventData, EventType, Service
from hippo_messenger.errors import (
    ConfigurationError,
    EventError,
    InvalidRegistrationError,
    NotSentError,
    RedisError,
    RegistrationTimeoutError,
)
from hippo_messenger.expiry import Expiry, expiry_time
from hippo_messenger.limits import WorkLimits
from hippo_messenger.log import log
from hippo_messenger.observer import Observer, guarded
from hippo_messenger.presence import Presence
from hippo_messenger.queues.call import PASSING, Caller
from hippo_messenger.queues.clock import Clock
from hippo_messenger.queues.connection import Connection, RedisSource
from hippo_messenger.queues.layout import Layout
from hippo_messenger.queues.publisher import Publication, Publisher
from hippo_messenger.queues.registry import Registry
from hippo_messenger.queues.rejections import Rejections
from hippo_messenger.queues.removal import JobsOfRemoved, Removal, Removed, check_removal
from hippo_messenger.queues.throttle import Throttle
from hippo_messenger.registration import REGISTRATION_JOB, Maker, Registration, Retention
from hippo_messenger.retry import RetryPolicy
from hippo_messenger.settings import Settings
from hippo_messenger.supervision import Supervision
from hippo_messenger.writing import EventWriter, GivenData

__all__ = ["HippoMessenger"]


class HippoMessenger:
    """One service's way to send events and to say which events it wants.

    Nothing touches Redis before the first `register` or `send`. It belongs to one event loop, and closes only what it
    opened: a client that was handed in stays open. Once it is closed, what needs Redis raises `MessengerClosedError`.
    """

    def __init__(
        self,
        *,
        service_name: Service,
        listens_to: Iterable[EventType] = (),
        redis_connection: RedisSource | None = None,
        enable_workers: bool = True,
        catalogue: Catalogue | None = None,
        retry: RetryPolicy | None = None,
        backlog: BacklogLimit | None = None,
        settings: Settings | None = None,
        observer: Observer | None = None,
    ) -> None:
        """Put a messenger together.

        Args:
            service_name: The service, a member of the catalogue's enum.
            listens_to: The event types that this service wants.
            redis_connection: A URL, "embedded", or a `redis.asyncio` client whose settings are taken over; left out,
                `HIPPO_REDIS_URL` or `REDIS_URL`.
            enable_workers: False keeps every worker of this messenger from taking jobs, as in a canary.
            catalogue: What may be said; left out, `HIPPO_CATALOGUE` or Golden Hippo's.
            retry: How this service's jobs are tried again.
            backlog: How many jobs may wait for this service, and what happens then; left out, any number.
            settings: Left out, the defaults with the variables `HIPPO_*`.
            observer: Told what happens.

        Raises:
            ConfigurationError: An argument is wrong; the message says which, and what would be right.
        """
        self._catalogue = catalogue or Catalogue.from_environment()
        self._service = self._catalogue.require_service(service_name)
        self._settings = settings or Settings.from_environment()
        self._enable_workers = enable_workers
        self._retry = retry or RetryPolicy()
        self._backlog = backlog
        self._observer = guarded(observer)
        self._listeners = self._checked_listeners(listens_to)
        self._instance = uuid4().hex
        self._writer = EventWriter(self._catalogue, service=self._service, max_bytes=self._settings.max_event_bytes)

        self._connection = Connection.of(redis_connection, settings=self._settings)
        caller = Caller(self._connection, observer=self._observer)
        layout = Layout(self._settings.prefix)
        self._publisher = Publisher(caller, layout, own_queue=self._service, settings=self._settings)
        self._clock = Clock(caller, layout)
        self._registry = Registry(self._connection, layout, caller=caller)
        self._throttle = Throttle(self._connection, layout, caller=caller)
        self._presence = Presence(
            self._registry,
            service=self._service,
            instance=self._instance,
            interval=self._settings.presence_interval,
            register_again=self._publish_registration,
            supervision=Supervision(f"messenger of {self._service}", observer=self._observer),
        )
        self._removal = Removal(self._registry, layout, caller=caller, settings=self._settings)
        self._rejections = Rejections(caller, layout, settings=self._settings)

    @property
    def service(self) -> Service:
        """The service that this messenger speaks for."""
        return self._service

    @property
    def listeners(self) -> frozenset[EventType]:
        """The event types that the next `register` asks for."""
        return self._listeners

    @property
    def catalogue(self) -> Catalogue:
        """What may be said."""
        return self._catalogue

    @property
    def connection(self) -> Connection:
        """The way to Redis; this messenger closes it."""
        return self._connection

    @property
    def settings(self) -> Settings:
        """How it behaves."""
        return self._settings

    @property
    def observer(self) -> Observer:
        """Tells the observer that it was given, and survives what that raises."""
        return self._observer

    @property
    def enable_workers(self) -> bool:
        """Whether workers of this messenger take jobs."""
        return self._enable_workers

    def set_listeners(self, listens_to: Iterable[EventType]) -> None:
        """Replace the event types that this service wants; it takes effect with the next `register`."""
        self._listeners = self._checked_listeners(listens_to)

    async def register(self, *, wait: bool = False, timeout: float = 10.0) -> None:
        """Tell the broker what this service listens to; a later registration replaces an earlier one.

        From now on the messenger also says regularly that it is there, and registers again should the registry be gone.

        Args:
            wait: Return when routing is live, not when the registration is queued.
            timeout: How many seconds to wait for that.

        Raises:
            NotSentError: Redis does not have the registration.
            PossiblySentError: Redis may have it; registering again does no harm.
            RegistrationTimeoutError: It is queued, but no broker took it in time, or Redis doesn't say so.
            InvalidRegistrationError: The broker refused it, and says why.
            RedisError: It is queued, but what became of it can't be read, and that doesn't pass.
        """
        number = await self._publish_registration()
        self._presence.start()
        if wait:
            await self._until_live(number, timeout)

    async def unregister(self, *, jobs: JobsOfRemoved = "keep", timeout: float = 60.0) -> Removed:
        """Take this service out of the registry: it gets no new events from then on; what became of its jobs.

        This messenger, and those of its other processes, say no more that they are there and don't register the service
        again by themselves; `register` does. Workers go on until they are stopped. Dead letters are only removed by
        `discard`.

        Args:
            jobs: `keep` leaves the jobs as they are. `drain` waits until workers have done them, then removes the
                queue; with dead letters it stays. `discard` removes the jobs and the queue.
            timeout: How many seconds to wait for jobs to be done. What is left then stays, and the result says so;
                unregistering again goes on.

        Raises:
            ConfigurationError: `jobs` is none of these, or `timeout` no time; nothing was done.
            RedisError: It could not be done; unregistering again goes on.
        """
        check_removal(jobs, timeout)
        await self._presence.stop()
        removed = await self._removal.unregister(self._service, jobs=jobs, timeout=timeout)
        log.info("%s is unregistered; %d jobs are left in its queue", self._service, removed.left)
        return removed

    async def set_work_limits(self, limits: WorkLimits) -> None:
        """Limit what all workers of this service do together, in Python and Node; it holds until it is set anew.

        Raises:
            ConfigurationError: The concurrency is 0, with which no job would begin.
            RedisError: It could not be set; setting it again does no harm.
        """
        if limits.concurrency == 0:
            raise ConfigurationError("expected a concurrency of 1 or more, got 0; `hippo pause` stops a queue")
        await self._throttle.set(self._service, limits)

    @overload
    async def send(
        self,
        data: EventData,
        /,
        *,
        notify_self: bool = False,
        event_id: str | None = None,
        delay: float = 0,
        priority: int = 0,
        expires: Expiry | None = None,
    ) -> str: ...

    @overload
    async def send(
        self,
        *,
        event_type: EventType,
        data: Mapping[str, object] | EventData,
        notify_self: bool = False,
        event_id: str | None = None,
        delay: float = 0,
        priority: int = 0,
        expires: Expiry | None = None,
    ) -> str: ...

    async def send(
        self,
        data: EventData | Mapping[str, object] | None = None,
        *,
        event_type: EventType | None = None,
        notify_self: bool = False,
        event_id: str | None = None,
        delay: float = 0,
        priority: int = 0,
        expires: Expiry | None = None,
    ) -> str:
        """Send one event to every service that listens; its id, once Redis has it.

        Args:
            data: An event-data model, or with `event_type` a mapping that fits its model.
            event_type: The type, where `data` doesn't say it.
            notify_self: Put a copy into this service's own queue too, in the same step.
            event_id: Sending again under the same id delivers once, within the duplicate window.
            delay: Seconds before the event is routed.
            priority: 0 goes first; of the others the lower number, up to 2,097,152.
            expires: Seconds, or a time with a zone, after which it is neither delivered nor processed: its jobs then
                complete as expired. By Redis' clock.

        Raises:
            EventValidationError: The data doesn't fit; nothing is sent, whatever state Redis is in.
            EventTooLargeError: It is larger than `max_event_bytes`.
            InvalidEventIdError: The id can't be used.
            UnknownEventTypeError: The type is not in the catalogue.
            ConfigurationError: The delay, priority or expiry is none, or `data` and `event_type` don't go together.
            EventIdInUseError: Another event has the id, or the broker has failed this one: to repeat it is of no use.
            ServiceFullError: A service that listens to it has as many jobs as it takes; nothing is sent.
            NotSentError: Redis does not have it.
            PossiblySentError: Redis may have it; send it again with the same `event_id`.
            MessengerClosedError: This messenger was closed.
        """
        try:
            publication = self._writer.write(
                data,
                event_type,
                event_id=event_id,
                delay=delay,
                priority=priority,
                copy_options=self._copy_options(wanted=notify_self),
            )
            if expires is not None:
                publication = self._expiring(publication, expires, now=await self._now([publication]))
        except EventError as error:
            await self._record_rejection(data, event_type, error, notify_self=notify_self)
            raise
        sent = await self._publisher.publish(publication)
        self._observer.sent(publication.name, origin=self._service)
        return sent

    async def send_many(
        self,
        events: Sequence[EventData],
        *,
        notify_self: bool = False,
        event_ids: Sequence[str] | None = None,
        delay: float = 0,
        priority: int = 0,
        expires: Expiry | None = None,
    ) -> list[str]:
        """Send many events, in this order; their ids, once Redis has all of them.

        All are checked before any is sent.

        Args:
            events: Event-data models.
            notify_self: As for `send`, for each.
            event_ids: One for each event, in the same order; sending again under the same ids delivers once.
            delay: As for `send`, for each.
            priority: As for `send`, for each.
            expires: As for `send`, for each.

        Raises:
            EventError: One of them is wrong; none was sent.
            ConfigurationError: `event_ids` are not as many as the events, or one stands there twice; none was sent.
            NotSentError: Redis does not have those that `event_ids` names; it has the others.
            PossiblySentError: Redis may or may not have those that `event_ids` names.
        """
        ids = [None] * len(events) if event_ids is None else _one_for_each(event_ids, events)
        copy_options = self._copy_options(wanted=notify_self)
        publications = []
        place = 0
        try:
            for place, (event, event_id) in enumerate(zip(events, ids, strict=True)):  # noqa: B007 - for the error
                publications.append(
                    self._writer.write(
                        event, event_id=event_id, delay=delay, priority=priority, copy_options=copy_options
                    )
                )
            if expires is not None and publications:
                now = await self._now(publications)
                for place, publication in enumerate(publications):
                    publications[place] = self._expiring(publication, expires, now=now)
        except EventError as error:
            await self._record_rejection(events[place], None, error, notify_self=notify_self)
            error.add_note(f"event {place} of {len(events)}; none of them was sent")
            raise
        sent = await self._publisher.publish_many(publications)
        for publication in publications:
            self._observer.sent(publication.name, origin=self._service)
        return sent

    async def close(self) -> None:
        """Finish what is being sent, and close what this messenger opened for good; may be called again.

        Where it is cancelled it hangs up at once: what is still being sent then raises.
        """
        try:
            await self._presence.close()
            await self._publisher.close()
        finally:
            await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _checked_listeners(self, listens_to: Iterable[EventType]) -> frozenset[EventType]:
        return frozenset(self._catalogue.require_event_type(event_type) for event_type in listens_to)

    def _registration(self) -> Registration:
        return Registration(
            service=self._service.value,
            listens_to=frozenset(event_type.value for event_type in self._listeners),
            retry=self._retry,
            completed=Retention(age=self._settings.completed_age, count=self._settings.completed_count),
            backlog=self._backlog,
        )

    async def _publish_registration(self) -> int:
        maker = Maker(instance=self._instance, host=socket.gethostname())
        data = json.dumps(json.loads(self._registration().to_wire()) | maker.to_wire(), separators=(",", ":")).encode()
        publication = Publication(name=REGISTRATION_JOB, data=data, options='{"attempts":1,"lifo":true}', lifo=True)
        return int(await self._publisher.publish(publication))

    async def _until_live(self, number: int, timeout: float) -> None:
        state, pause = "queued", 0.005
        trouble: RedisError | None = None
        try:
            async with asyncio.timeout(timeout):
                while state == "queued":
                    try:
                        state, trouble = await self._registry.progress(self._service, number=number), None
                    except PASSING as error:  # it is queued all the same
                        trouble = error
                        self._observer.trouble(error)
                    if state == "queued":
                        await asyncio.sleep(pause)
                        pause = min(pause * 1.5, 0.1)
        except TimeoutError:
            raise RegistrationTimeoutError(
                f"the registration of {self._service} is queued, but no message broker took it within {timeout:g} s; "
                + ("is one running (`hippo broker`)?" if trouble is None else f"the last that was heard: {trouble}")
            ) from trouble
        if state != "live":
            raise InvalidRegistrationError(f"the message broker refused the registration of {self._service}: {state}")

    def _copy_options(self, *, wanted: bool) -> str:
        """The options of the direct copy of an event; empty for none."""
        return self._registration().job_options if wanted else ""

    async def _now(self, asked_for: Iterable[Publication]) -> datetime:
        """Redis' time, for events that expire; without Redis nobody knows it, and none of them is sent."""
        try:
            return await self._clock.now(patience=self._settings.call_timeout)
        except RedisError as error:
            ids = [publication.event_id for publication in asked_for]
            raise NotSentError(f"not sent: {error}", event_ids=ids) from error

    def _expiring(self, publication: Publication, expires: Expiry, *, now: datetime) -> Publication:
        """An event that was checked, with the time when it expires."""
        expiry = expiry_time(expires, now=now, delay=publication.delay / 1000)
        return self._writer.with_expiry(publication, expiry)

    async def _record_rejection(
        self,
        data: GivenData,
        event_type: EventType | None,
        error: EventError,
        *,
        notify_self: bool,
    ) -> None:
        """Best effort, and never in the way of the error that is about to be raised."""
        kind = event_type if event_type is not None else getattr(type(data), "event_type", None)
        if not isinstance(kind, EventType):
            return
        self._observer.rejected(kind.value, origin=self._service)
        try:
            await self._rejections.record(
                event_type=kind.value,
                origin=self._service.value,
                data=self._writer.shown(data, kind),
                reason=str(error),
                own_queue_too=notify_self,
            )
        except Exception as cause:
            log.warning("a rejected %s could not be recorded: %s", kind, cause)


def _one_for_each(event_ids: Sequence[str], events: Sequence[EventData]) -> Sequence[str]:
    """The ids, if each event has one of its own."""
    if len(event_ids) != len(events):
        raise ConfigurationError(f"expected an event id for each of {len(events)} events, got {len(event_ids)}")
    if len(set(event_ids)) != len(event_ids):
        raise ConfigurationError(
            "expected another event id for each event, got one twice: of two events under one id only one is delivered"
        )
    return event_ids
