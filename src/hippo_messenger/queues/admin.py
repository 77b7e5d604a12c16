"""What an operator does to queues: pause, resume, cancel."""

from __future__ import annotations

import asyncio
import math
from typing import cast

from hippo_messenger.envelope import decode
from hippo_messenger.errors import InvalidEnvelopeError
from hippo_messenger.observer import Observer
from hippo_messenger.queues.call import Caller
from hippo_messenger.queues.connection import Connection
from hippo_messenger.queues.failures import mapped_errors
from hippo_messenger.queues.layout import Layout
from hippo_messenger.queues.queue import event_digest
from hippo_messenger.queues.schedule import bullmq, require_bullmq
from hippo_messenger.settings import Settings

__all__ = ["Admin"]


class Admin:
    """Acts on the queues under one prefix; every act may be repeated."""

    def __init__(self, connection: Connection, *, settings: Settings) -> None:
        """Raises:
        ConfigurationError: The `bullmq` package is not installed.
        """
        require_bullmq()
        self._connection = connection
        self._settings = settings
        self._layout = Layout(settings.prefix)
        self._caller = Caller(connection, observer=Observer())

    async def pause(self, queue: str) -> bool:
        """Let no worker take a job of this queue until it is resumed; False if it was paused already.

        Jobs that are being processed are finished, and new ones are still added.
        """
        return await self._set_paused(queue, paused=True)

    async def resume(self, queue: str) -> bool:
        """Let workers take jobs again; False if the queue was not paused."""
        return await self._set_paused(queue, paused=False)

    async def cancel(self, event_id: str) -> bool:
        """Take back an event that is still delayed, with its sender's own copy; False if none with this id is."""
        raw = await self._connection.execute("HGET", self._layout.broker.job(event_id), "data")
        try:
            source = decode(cast("bytes", raw or b"")).source
        except InvalidEnvelopeError:
            return False
        keys = (*self._layout.broker.all, *self._layout.queue(source).all, self._layout.seen)
        window = math.ceil(self._settings.deduplication_window * 1000)
        arguments = (int(self._settings.events_stream), window, event_id, event_digest(source, event_id) + b"self")
        return bool((await self._caller.call("cancel", keys, arguments, patience=0))[0])

    async def _set_paused(self, name: str, *, paused: bool) -> bool:
        connection = self._connection.bullmq_client()
        with mapped_errors(maybe_executed=True):
            async with asyncio.timeout(self._settings.call_timeout):
                queue = bullmq.Queue(name, {"connection": connection, "prefix": self._settings.prefix})
                if await queue.isPaused() == paused:
                    return False
                await (queue.pause() if paused else queue.resume())
        return True
