"""A TCP proxy that keeps what passes through it for a while, each way: a server at a distance.

The test kit's proxy holds up one reply after the other, so that a connection's replies would wait for each other; here
every piece has its own time, and pieces are on their way together.
"""

from __future__ import annotations

import asyncio
import sys
import time
from asyncio.subprocess import PIPE
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import uvloop

from bench.process import processor_seconds, until_terminated
from bench.server import Server

__all__ = ["DistantServer", "at_a_distance"]


@dataclass
class Road:
    """All pieces that are on their way, the earliest first: each takes equally long."""

    seconds: float
    _pieces: deque[tuple[float, asyncio.WriteTransport, bytes]] = field(default_factory=deque)
    _some: asyncio.Event = field(default_factory=asyncio.Event)

    def carry(self, to: asyncio.WriteTransport, piece: bytes) -> None:
        if not self.seconds:
            to.write(piece)
            return
        self._pieces.append((time.monotonic() + self.seconds, to, piece))
        self._some.set()

    async def run(self) -> None:
        """Deliver them, for ever."""
        while True:
            await self._some.wait()
            early = self._pieces[0][0] - time.monotonic()
            if early > 0:
                # In a thread, since the loop's own timers know whole milliseconds only.
                await asyncio.to_thread(time.sleep, early)
            now = time.monotonic()
            while self._pieces and self._pieces[0][0] <= now:
                _, to, piece = self._pieces.popleft()
                if not to.is_closing():
                    to.write(piece)
            if not self._pieces:
                self._some.clear()


class End(asyncio.Protocol):
    """One end of a connection through the proxy; what comes before the other end is there waits for it."""

    def __init__(self, road: Road) -> None:
        self.transport: asyncio.WriteTransport | None = None
        self.other: End | None = None
        self._road = road
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        if self.other is None or self.other.transport is None:
            self._early.append(data)
        else:
            self._road.carry(self.other.transport, data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()

    def meet(self, other: End) -> None:
        """From now on what comes goes there."""
        self.other, other.other = other, self
        for data in self._early:
            self.data_received(data)


class Entrance(End):
    """The end of a client: it opens the way to the server."""

    def __init__(self, road: Road, path: str) -> None:
        super().__init__(road)
        self._path = path

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._opening = asyncio.ensure_future(self._open())

    async def _open(self) -> None:
        _, far = await asyncio.get_running_loop().create_unix_connection(lambda: End(self._road), self._path)
        self.meet(far)


async def proxy(path: str, seconds: float) -> None:
    """Serve until terminated; says its port."""
    road = Road(seconds)
    server = await asyncio.get_running_loop().create_server(lambda: Entrance(road, path), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    carrying = asyncio.create_task(road.run())
    await until_terminated()
    carrying.cancel()


@dataclass(frozen=True)
class DistantServer:
    """A server behind the proxy."""

    url: str
    server: Server
    pid: int

    async def cpu(self) -> float:
        """Seconds of the server so far."""
        return await self.server.cpu()

    def memory(self) -> float:
        """The most (MB) that the server has had so far."""
        return self.server.memory()

    def proxy_seconds(self) -> float:
        """Seconds of the proxy so far."""
        return processor_seconds(self.pid)


@asynccontextmanager
async def at_a_distance(server: Server, *, seconds: float) -> AsyncIterator[DistantServer]:
    """The server behind a proxy of its own, that takes so long each way."""
    path = server.url.removeprefix("unix://")
    words = ("-m", "bench.delay", path, str(seconds))
    process = await asyncio.create_subprocess_exec(sys.executable, *words, stdout=PIPE)
    assert process.stdout is not None
    try:
        port = int(await process.stdout.readline())
        yield DistantServer(f"redis://127.0.0.1:{port}/0", server, process.pid)
    finally:
        process.terminate()
        await process.wait()


if __name__ == "__main__":
    uvloop.run(proxy(sys.argv[1], float(sys.argv[2])))
