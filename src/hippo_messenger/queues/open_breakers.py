"""Which workers are slowed down because their processor fails everything, for those who look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from hippo_messenger.queues.call import Caller
from hippo_messenger.queues.layout import Layout

__all__ = ["OpenBreakers"]

_REMEMBERED = 600.0
"""How long (s) an open breaker is shown that was not heard of again; each probe that fails is heard of."""


class OpenBreakers:
    """Written when a breaker changes, and forgotten by itself when its worker is gone."""

    def __init__(self, caller: Caller, layout: Layout) -> None:
        self._caller = caller
        self._layout = layout

    async def note(self, service: str, worker: str, *, is_open: bool) -> None:
        """Say how the breaker of one worker is.

        Raises:
            RedisError: It could not be written.
        """
        arguments = (worker, round(_REMEMBERED * 1000) if is_open else 0)
        await self._caller.call("breaker", (self._layout.open_breakers(service),), arguments, patience=0)

    async def count(self, services: Sequence[str]) -> dict[str, int]:
        """How many workers of each service have an open one.

        Raises:
            RedisError: It could not be read.
        """
        keys = [self._layout.open_breakers(service) for service in services]
        reply = await self._caller.call("breakers", keys, (), patience=0)
        return dict(zip(services, cast("Sequence[int]", reply[0]), strict=True))
