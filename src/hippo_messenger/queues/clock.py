"""Redis' clock, which is the same for everybody, read without a call for each look."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import cast

from hippo_messenger.errors import LayoutTooNewError, RedisError, RedisTimeoutError
from hippo_messenger.queues.call import Caller
from hippo_messenger.queues.layout import Layout

__all__ = ["Clock"]

_FRESH = 10.0
"""How long (s) what Redis said is carried on by this process' monotonic clock before it is asked again."""
_START = datetime(1970, 1, 1, tzinfo=UTC)


class Clock:
    """Asks Redis for the time when somebody looks, at most every ten seconds, and counts on from there in between.

    It is as exact as half of what the reply took to come, for as long as nobody sets Redis' clock; that is noticed
    within ten seconds. What this process takes for the time plays no part.
    """

    def __init__(self, caller: Caller, layout: Layout) -> None:
        self._caller = caller
        self._keys = (layout.version,)
        self._turn = asyncio.Lock()
        self._offset: float | None = None
        """From this process' monotonic clock to Redis', in seconds."""
        self._asked_at = 0.0
        """When the last try went out, so that the time in which none got there doesn't count."""
        self._failure: RedisError | None = None
        """The last one."""

    async def now(self, *, patience: float | None) -> datetime:
        """The time.

        Args:
            patience: As for `Caller.call`, where Redis was never asked before; the wait for others who ask is in it.
                Later a Redis that doesn't answer is not waited for.

        Raises:
            RedisError: Redis was never asked before, and gives no answer.
        """
        offset = self._offset
        if offset is None or not self._is_fresh():
            try:
                async with asyncio.timeout(patience), self._turn:
                    if self._offset is None or not self._is_fresh():
                        await self._ask(patience)
            except TimeoutError:  # what was asked, or somebody else for whom this one has waited, got no answer
                if self._offset is None:
                    raise self._failure or RedisTimeoutError(f"Redis told no time within {patience:g} s") from None
            offset = cast("float", self._offset)
        return _START + timedelta(seconds=time.monotonic() + offset)

    def _is_fresh(self) -> bool:
        return time.monotonic() - self._asked_at < _FRESH

    async def _ask(self, patience: float | None) -> None:
        is_known = self._offset is not None

        def depart() -> None:
            self._asked_at = time.monotonic()

        depart()
        try:
            reply = await self._caller.call(
                "clock", self._keys, (), patience=0 if is_known else patience, on_departure=depart
            )
        except LayoutTooNewError:
            raise
        except RedisError as error:
            self._failure = error
            if not is_known:
                raise
            return
        self._offset = cast("int", reply[0]) / 1000 - (self._asked_at + time.monotonic()) / 2
