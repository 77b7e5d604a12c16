"""The pipe from the demo to each of its processes: `go` comes by it, and where it ends the process is to end too."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["Lifeline", "lifeline"]


class Lifeline(asyncio.Protocol):
    """What the demo says to one of its processes, on stdin."""

    def __init__(self) -> None:
        self._go = asyncio.Event()

    async def go(self) -> None:
        """Returns when the demo says so."""
        await self._go.wait()

    def data_received(self, data: bytes) -> None:
        """The demo says go, and never anything else."""
        self._go.set()

    def eof_received(self) -> None:
        """The demo is gone: end as if it had asked for it."""
        signal.raise_signal(signal.SIGTERM)


@asynccontextmanager
async def lifeline() -> AsyncIterator[Lifeline]:
    """Be told what the demo says; a SIGTERM comes when it is gone, also where it was killed and can ask for nothing."""
    transport, protocol = await asyncio.get_running_loop().connect_read_pipe(Lifeline, sys.stdin)
    try:
        yield protocol
    finally:
        transport.close()
