"""A small TCP proxy in front of a server, that loses what it is told to lose."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit


class FlakyProxy:
    """Forwards bytes both ways; a dropped reply closes its connection, after the server has done what was asked."""

    def __init__(self, target: str) -> None:
        self._target = urlsplit(target)
        self._server: asyncio.Server | None = None
        self._to_drop = 0
        self.dropped = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._handlers: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return f"redis://127.0.0.1:{port}/0"

    def drop_replies(self, count: int) -> None:
        """Lose the next so many replies, each with its connection."""
        self._to_drop = count

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for writer in self._writers:
                writer.transport.abort()
            await asyncio.gather(*self._handlers, return_exceptions=True)
            await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handler = asyncio.ensure_future(self._serve(reader, writer))
        self._handlers.add(handler)
        handler.add_done_callback(self._handlers.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._target.scheme == "unix":
            upstream = await asyncio.open_unix_connection(self._target.path)
        else:
            upstream = await asyncio.open_connection(self._target.hostname, self._target.port or 6379)
        self._writers |= {writer, upstream[1]}
        requests = asyncio.create_task(self._pump(reader, upstream[1]))
        replies = asyncio.create_task(self._pump(upstream[0], writer, losing=True))
        await asyncio.wait([requests, replies], return_when=asyncio.FIRST_COMPLETED)
        for end in (writer, upstream[1]):
            end.close()
            self._writers.discard(end)
        await asyncio.gather(requests, replies, return_exceptions=True)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, losing: bool = False) -> None:
        try:
            while chunk := await reader.read(65536):
                # Handshakes (PING, CLIENT, HELLO, INFO) are not what these tests are about.
                if losing and self._to_drop > 0 and chunk.startswith(b"*"):
                    self._to_drop -= 1
                    self.dropped += 1
                    return
                writer.write(chunk)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return
