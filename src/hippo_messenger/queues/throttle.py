"""What all workers of a queue may do together, kept where BullMQ keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from hippo_messenger.limits import RateLimit, WorkLimits
from hippo_messenger.queues.call import Caller
from hippo_messenger.queues.connection import Connection
from hippo_messenger.queues.layout import Layout

__all__ = ["Throttle", "read_limits"]

_DIGITS = 15


class Throttle:
    """Reads and sets the limits of queues; workers in Python and Node go by them from their next take on."""

    def __init__(self, connection: Connection, layout: Layout, *, caller: Caller) -> None:
        self._connection = connection
        self._layout = layout
        self._caller = caller

    async def get(self, queue: str) -> WorkLimits:
        """The limits of a queue.

        Raises:
            RedisError: They can't be read.
        """
        meta = self._layout.queue(queue).base + "meta"
        words = await self._connection.execute("HMGET", meta, "max", "duration", "concurrency")
        return read_limits(cast("Sequence[bytes | None]", words))

    async def set(self, queue: str, limits: WorkLimits) -> None:
        """Replace the limits of a queue; what is None in them is no limit from now on.

        Raises:
            RedisError: They could not be set; setting them again does no harm.
        """
        rate = ("", "") if limits.rate is None else (limits.rate.jobs, round(limits.rate.period * 1000))
        concurrency = "" if limits.concurrency is None else limits.concurrency
        await self._caller.call("throttle", self._layout.queue(queue).all, (*rate, concurrency), patience=0)


def read_limits(words: Sequence[bytes | None]) -> WorkLimits:
    """The limits in a queue's `max`, `duration` and `concurrency`; what the scripts don't go by counts as not set."""
    jobs, period, concurrency = (
        int(word) if word and word.isdigit() and len(word) <= _DIGITS else None for word in words
    )
    if jobs is None or period == 0:  # a period of 0 ends as it begins
        return WorkLimits(None, concurrency)
    return WorkLimits(RateLimit(max(jobs, 1), 1.0 if period is None else period / 1000), concurrency)
