"""How long a processor may take for one job."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable
from dataclasses import dataclass

from hippo_messenger.cancellation import Cancellation
from hippo_messenger.errors import ConfigurationError, ProcessingError, ProcessorTimeoutError
from hippo_messenger.log import log

__all__ = ["TimeLimit"]


@dataclass(frozen=True, slots=True)
class TimeLimit:
    """A number of seconds; past it the attempt has failed, whatever the processor still returns."""

    seconds: float

    @classmethod
    def of(cls, seconds: float | None) -> TimeLimit | None:
        """The limit that a user asked for; None and infinity are none.

        Raises:
            ConfigurationError: It is no number of seconds above 0.
        """
        if seconds is None or seconds == math.inf:
            return None
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
            raise ConfigurationError(f"expected a time limit of more than 0 seconds, or None for none, got {seconds!r}")
        return cls(float(seconds))

    async def over_coroutine(self, call: Awaitable[object], *, began: float, name: str) -> object:
        """What an asynchronous processor returns; past the limit it is cancelled where it awaits.

        Args:
            call: What it does.
            began: When its time began, by the loop's clock.
            name: What it is called.

        Raises:
            ProcessorTimeoutError: It took longer, though it may have caught its cancellation and returned.
        """
        timeout = asyncio.timeout_at(began + self.seconds)
        try:
            async with timeout:
                returned = await call
        except TimeoutError as error:
            if timeout.expired():
                raise self._error(name) from error
            raise
        if timeout.expired():
            raise self._error(name)
        return returned

    async def over_thread(
        self, future: asyncio.Future[object], cancellation: Cancellation, *, name: str, job_id: str
    ) -> None:
        """Wait for a thread. Past the limit the processor is told by `HippoJob.cancelled`, and still waited for.

        Nobody can end a thread, and the job must not be run again beside it.

        Raises:
            ProcessorTimeoutError: It took longer.
        """
        await asyncio.wait([future], timeout=self.seconds)
        if future.done():
            return
        cancellation.set()
        log.warning(
            "%s has had job %s for longer than its limit of %g s; nobody can end a thread, so the job stays locked "
            "until it returns",
            name,
            job_id,
            self.seconds,
        )
        await asyncio.wait([future])
        error = None if future.cancelled() else future.exception()
        if not isinstance(error, ProcessingError):  # its own verdict counts
            raise self._error(name) from error

    def _error(self, name: str) -> ProcessorTimeoutError:
        return ProcessorTimeoutError(f"{name} took longer than its limit of {self.seconds:g} s")
