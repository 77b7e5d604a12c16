"""How many jobs a worker may take now: all that it has hands for, unless its processor fails everything."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from uuid import uuid4

from hippo_messenger.breaker import Breaker, BreakerState
from hippo_messenger.errors import RedisError
from hippo_messenger.log import log
from hippo_messenger.observer import Observer
from hippo_messenger.queues.open_breakers import OpenBreakers

__all__ = ["Pace"]

_STOP_TIME = 1.0
"""How long (s) a worker that stops tries to say that its breaker is no matter any more."""


class Pace:
    """Keeps one worker's breaker, and tells of its changes: the log, the observer, and Redis for `hippo status`."""

    def __init__(
        self,
        breaker: Breaker,
        *,
        service: str,
        open_breakers: OpenBreakers,
        observer: Observer,
        look_again: Callable[[], None],
    ) -> None:
        """Put one together; `look_again` is called when a job may be taken after one might not."""
        self._breaker = breaker
        self._service = service
        self._open_breakers = open_breakers
        self._observer = observer
        self._look_again = look_again
        self._instance = uuid4().hex
        self._told: BreakerState = "closed"
        self._alarm: asyncio.TimerHandle | None = None
        self._is_noted = True
        self._noting: asyncio.Task[None] | None = None

    def room(self, free: int) -> int:
        """How many jobs may be taken, of so many that there are hands for."""
        return self._breaker.room(free, now=time.monotonic()) if self._told != "closed" else free

    def took(self, job_id: str) -> None:
        """A job was taken."""
        if self._told != "closed":
            self._breaker.took(job_id, now=time.monotonic())
            self._follow()

    def succeeded(self, job_id: str) -> None:
        """The processor has done a job."""
        self._breaker.succeeded(job_id, now=time.monotonic())
        if self._told != "closed":
            self._follow()

    def failed(self, job_id: str) -> None:
        """The processor has failed at a job, and not because it said so itself."""
        before = self._breaker.due_at
        self._breaker.failed(job_id, now=time.monotonic(), chance=random.random())
        if self._breaker.due_at != before:
            self._follow(has_failed=True)

    def ended(self, job_id: str) -> None:
        """A job has ended in whatever way."""
        if self._told != "closed":
            self._breaker.ended(job_id, now=time.monotonic())
            self._follow()

    async def stop(self) -> None:
        """Leave nothing of it behind in Redis, if that is to be had."""
        self._cancel_alarm()
        try:
            async with asyncio.timeout(_STOP_TIME):
                if self._noting is not None:
                    await self._noting
                if self._told != "closed":
                    self._told = "closed"
                    await self._open_breakers.note(self._service, self._instance, is_open=False)
        except (TimeoutError, RedisError) as error:
            log.warning("%s: that its breaker is open will be shown for a while: %r", self._service, error)

    def _follow(self, *, has_failed: bool = False) -> None:
        """Do what a change of the breaker asks for."""
        state, before = self._breaker.state, self._told
        self._told = state
        self._set_alarm()
        if has_failed:
            self._say_when(first=before == "closed")
        if state == before:
            return
        self._observer.breaker(state, queue=self._service)
        if state == "closed":
            log.warning(
                "%s: the processor succeeds again: the breaker is closed, and all jobs are taken", self._service
            )
        if has_failed or state == "closed":
            self._note()

    def _say_when(self, *, first: bool) -> None:
        wait = max(self._breaker.due_at - time.monotonic(), 0)
        if first:
            log.error(
                "%s: the processor fails almost everything: the breaker is open, and one job is tried at a time, the "
                "first in %.1f s; the others wait and lose no attempt",
                self._service,
                wait,
            )
        else:
            log.warning("%s: the processor still fails; the next job is tried in %.1f s", self._service, wait)

    def _set_alarm(self) -> None:
        self._cancel_alarm()
        if self._told == "closed":
            self._look_again()
            return
        wait = max(self._breaker.due_at - time.monotonic(), 0)
        self._alarm = asyncio.get_running_loop().call_later(wait, self._look_again)

    def _cancel_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _note(self) -> None:
        """Have the state written; while that is under way, the newest one once more after it."""
        self._is_noted = False
        if self._noting is None or self._noting.done():
            self._noting = asyncio.create_task(self._write(), name=f"hippo-{self._service}-breaker")

    async def _write(self) -> None:
        while not self._is_noted:
            self._is_noted = True
            try:
                await self._open_breakers.note(self._service, self._instance, is_open=self._told != "closed")
            except RedisError as error:  # it is only for those who look
                self._observer.trouble(error)
