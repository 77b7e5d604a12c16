"""The repeat job of each registration: BullMQ's own job scheduler, through the official `bullmq` package."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from hippo_messenger.errors import ConfigurationError
from hippo_messenger.queues.connection import Connection
from hippo_messenger.queues.failures import mapped_errors
from hippo_messenger.queues.layout import BROKER_QUEUE
from hippo_messenger.queues.queue import QueuedJob
from hippo_messenger.registration import REGISTRATION_JOB, Registration
from hippo_messenger.settings import Settings

try:
    import bullmq as installed_bullmq
except ImportError:  # a service that only sends and works does without it
    installed_bullmq = None

bullmq: Any = installed_bullmq  # it ships no types

__all__ = ["COUNTER_FIELD", "Schedule"]

COUNTER_FIELD = "registrationNumber"
"""Where a repeat job says which registration it stems from."""


class Schedule:
    """One job scheduler in the broker queue for each registered service.

    Its clock is the calling process' own, since the `bullmq` package has no other: a tick may come early or late by as
    much as that is off, and it only repairs what should be there anyway.
    """

    def __init__(self, connection: Connection, *, settings: Settings) -> None:
        """Raises:
        ConfigurationError: The `bullmq` package is not installed.
        """
        if bullmq is None:
            raise ConfigurationError(
                "a broker and its administration need the bullmq package: pip install 'hippo-service-messenger[broker]'"
            )
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
        scheduler = _scheduler_id(registration.service)
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
        with mapped_errors(maybe_executed=True):
            async with asyncio.timeout(self._settings.call_timeout):
                await self._queue().removeJobScheduler(_scheduler_id(service))

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


def _scheduler_id(service: str) -> str:
    return f"{REGISTRATION_JOB}.{service}"
