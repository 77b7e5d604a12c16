"""The repeat job of each registration: BullMQ's own job scheduler, through the official `bullmq` package."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any, cast

from hippo_messenger.errors import ConfigurationError, RedisError
from hippo_messenger.log import log
from hippo_messenger.observer import Observer
from hippo_messenger.queues.call import Caller
from hippo_messenger.queues.connection import Connection
from hippo_messenger.queues.delivery import QueuedJob
from hippo_messenger.queues.failures import mapped_errors
from hippo_messenger.queues.layout import BROKER_QUEUE, Layout
from hippo_messenger.queues.registry import Registry
from hippo_messenger.registration import REGISTRATION_JOB, Registration, scheduler_of
from hippo_messenger.settings import Settings

try:
    import bullmq as installed_bullmq
except ImportError:  # a service that only sends and works does without it
    installed_bullmq = None

bullmq: Any = installed_bullmq  # it ships no types; None where it is not installed

__all__ = ["COUNTER_FIELD", "Schedule", "bullmq", "require_bullmq"]

COUNTER_FIELD = "registrationNumber"
"""Where a repeat job says which registration it stems from."""


def require_bullmq() -> None:
    """Raises:
    ConfigurationError: The `bullmq` package is not installed.
    """
    if bullmq is None:
        raise ConfigurationError(
            "a broker and its administration need the bullmq package: pip install 'hippo-service-messenger[broker]'"
        )


class Schedule:
    """One job scheduler in the broker queue for each registered service.

    Its clock is the calling process' own, since the `bullmq` package has no other: a tick may come early or late by as
    much as that is off, and it only repairs what should be there anyway.
    """

    def __init__(self, connection: Connection, *, settings: Settings) -> None:
        """Raises:
        ConfigurationError: The `bullmq` package is not installed.
        """
        require_bullmq()
        self._connection = connection
        self._settings = settings
        self._opened: Any = None

    async def replace(self, registration: Registration, *, number: int) -> None:
        """Delete the service's scheduler and make it anew; its first tick comes after one whole interval.

        Raises:
            RedisError: It could not be made.
        """
        interval = round(self._settings.registration_interval * 1000)
        data = json.loads(registration.to_wire()) | {COUNTER_FIELD: number}
        repeat = {"every": interval, "startDate": round(time.time() * 1000) + interval}
        retention = {"age": self._settings.completed_age, "count": self._settings.completed_count}
        options = {"attempts": 1, "removeOnComplete": retention, "removeOnFail": retention}
        scheduler = scheduler_of(registration.service)
        async with asyncio.timeout(self._settings.call_timeout):
            with mapped_errors(maybe_executed=True):
                queue = self._queue()
                await queue.removeJobScheduler(scheduler)
                await queue.upsertJobScheduler(scheduler, repeat, REGISTRATION_JOB, data, options)

    async def remove(self, service: str) -> None:
        """Delete the service's scheduler, if it has one.

        Raises:
            RedisError: It could not be deleted.
        """
        async with asyncio.timeout(self._settings.call_timeout):
            with mapped_errors(maybe_executed=True):
                await self._queue().removeJobScheduler(scheduler_of(service))

    async def follow(self, registry: Registry, service: str, *, number: int = -1) -> None:
        """Make the service's scheduler anew as the registry has it, where that has a newer registration than `number`.

        Others may register or unregister the service meanwhile, and be done with its scheduler first. Whoever has
        touched it looks afterwards, so the last one sees what stands.

        Raises:
            RedisError: It could not be done.
        """
        while (standing := await registry.number(service)) > number:
            number = standing  # read first: the entry is of this registration, or of a newer one
            registration = (await registry.load()).by_service.get(service)
            if registration is None:
                await self.remove(service)
            else:
                await self.replace(registration, number=number)

    async def keep(self, registry: Registry, *, caller: Caller, observer: Observer) -> None:
        """Once in an interval make anew what is gone, or far from its time since a clock was set; until cancelled."""
        while True:
            await asyncio.sleep(self._settings.registration_interval)
            try:
                for service in await self._off_time(list((await registry.load()).by_service), caller):
                    log.warning("the repeat job of %s was gone or far from its time; it is made anew", service)
                    await self.follow(registry, service)
            except RedisError as error:
                observer.trouble(error)
            except Exception as error:  # the bullmq package's own, say; the next interval is another chance
                log.warning("the repeat jobs could not be looked after: %r", error)

    async def _off_time(self, services: Sequence[str], caller: Caller) -> list[str]:
        """The services whose next tick doesn't come within two intervals."""
        key = Layout(self._settings.prefix).broker.scheduler
        reply = await caller.call("ticks", (key,), [scheduler_of(service) for service in services], patience=0)
        now, due = cast("tuple[int, list[bytes]]", reply)
        interval = self._settings.registration_interval * 1000
        if abs(time.time() * 1000 - now) > interval:  # what this process made would be as far from its time
            return []
        off = [not when or not abs(float(when) - now) <= 2 * interval for when in due]
        return [service for service, is_off in zip(services, off, strict=True) if is_off]

    async def advance(self, job: QueuedJob) -> None:
        """Schedule the tick after this one; BullMQ leaves that to whoever takes the job.

        Raises:
            RedisError: It could not be scheduled.
        """
        options = json.loads(job.options)
        async with asyncio.timeout(self._settings.call_timeout):
            with mapped_errors(maybe_executed=True):
                await self._queue().jobScheduler.upsertJobScheduler(
                    job.scheduler,
                    options.get("repeat"),
                    job.name,
                    json.loads(job.data),
                    options,
                    override=False,
                    producer_id=job.id,
                )

    def _queue(self) -> Any:  # noqa: ANN401 - it ships no types
        if self._opened is None:
            connection = self._connection.bullmq_client()
            self._opened = bullmq.Queue(BROKER_QUEUE, {"connection": connection, "prefix": self._settings.prefix})
        return self._opened
