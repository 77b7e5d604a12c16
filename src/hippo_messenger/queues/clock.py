"""Redis' clock, which is the same for everybody, read without a call for each look."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import cast

from hippo_messenger.errors import LayoutTooNewError, RedisError
from hippo_messenger.queues.call import Caller
from hippo_messenger.queues.layout import Layout

__all__ = ["Clock"]

_FRESH = 10.0
"""How long (s) what Redis said is carried on by this process' monotonic clock before it is asked again."""
_START = datetime(1970, 1, 1, tzinfo=UTC)


class Clock:
    """Asks Redis for the time when somebody looks, at most every ten seconds, and counts on from there in between.

    It is as exact as half of what that call took, for as long as nobody sets Redis' clock; that is noticed within ten
    seconds. What this process takes for the time plays no part.
    """

    def __init__(self, caller: Caller, layout: Layout) -> None:
        self._caller = caller
        self._keys = (layout.version,)
        self._turn = asyncio.Lock()
        self._offset: float | None = None
        """From this process' monotonic clock to Redis', in seconds."""
        self._asked_at = 0.0

    async def now(self, *, patience: float | None) -> datetime:
        """The time.

        Args:
            patience: As for `Caller.call`, where Redis was never asked before; later a Redis that doesn't answer is not
                waited for.

        Raises:
            RedisError: Redis was never asked before, and gives no answer.
        """
        async with self._turn:
            if self._offset is None or time.monotonic() - self._asked_at >= _FRESH:
                self._offset = await self._ask(patience)
        return _START + timedelta(seconds=time.monotonic() + self._offset)

    async def _ask(self, patience: float | None) -> float:
        known = self._offset
        before = self._asked_at = time.monotonic()
        try:
            reply = await self._caller.call("clock", self._keys, (), patience=patience if known is None else 0)
        except LayoutTooNewError:
            raise
        except RedisError:
            if known is None:
                raise
            return known
        return cast("int", reply[0]) / 1000 - (before + time.monotonic()) / 2
