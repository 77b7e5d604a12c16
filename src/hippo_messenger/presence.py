"""Says regularly that an instance of a service is there, and registers it again should the registry be gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from hippo_messenger.errors import LayoutTooNewError, RedisError, SendError
from hippo_messenger.log import log
from hippo_messenger.queues.registry import Registry
from hippo_messenger.supervision import Supervision

__all__ = ["Presence", "is_due"]

_RAREST = 16
"""Looks."""


class Presence:
    """One instance of a service, from its first registration until it is stopped."""

    def __init__(
        self,
        registry: Registry,
        *,
        service: str,
        instance: str,
        interval: float,
        register_again: Callable[[], Awaitable[object]],
        supervision: Supervision,
    ) -> None:
        self._registry = registry
        self._service = service
        self._instance = instance
        self._interval = interval
        self._register_again = register_again
        self._supervision = supervision
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False
        self._was_known = False

    def start(self) -> None:
        """Begin, unless it has begun already, or was closed. What was unregistered before counts no more."""
        self._was_known = False
        if not self._is_closed and (self._task is None or self._task.done()):
            self._task = self._supervision.start("presence", self._keep_on)

    async def stop(self) -> None:
        """Say it no more; may be called again."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def close(self) -> None:
        """Say it no more, whoever still starts it: a registration may be under way; may be called again."""
        self._is_closed = True
        await self.stop()

    async def _keep_on(self) -> None:
        """Until it is stopped, or the service was unregistered: then nothing is said until it registers anew."""
        lost = -1  # looks in a row that found nothing, after the one that follows the registration at once
        while True:
            try:
                known = await self._registry.note_presence(self._service, self._instance, patience=None)
                if known == "unregistered" and self._was_known:
                    log.warning("%s was unregistered: no new events until it calls register() again", self._service)
                    return
                lost = lost + 1 if known == "lost" else 0
                if is_due(lost):
                    log.warning("the registry has lost %s; registering again", self._service)
                    await self._register_again()
                self._was_known = self._was_known or known == "known"
            except LayoutTooNewError:
                raise
            except (RedisError, SendError) as error:
                log.warning("%s could not say that it is there: %s; trying again", self._service, error)
            await asyncio.sleep(self._interval)


def is_due(lost: int) -> bool:
    """Whether to register again: at once, then more and more rarely, since a broker may have refused it."""
    return lost > 0 and (lost & (lost - 1) == 0 or lost % _RAREST == 0)
