"""A connection that stands: a command goes out, its reply comes back.

The client library connects: it knows addresses, TLS, logins and Sentinel. Its own way from there on, through a stream,
a parser and layers of coroutines, was a third of the function calls of a worker that has few events.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from hiredis import Reader, pack_command
from redis import exceptions as foreign
from redis.asyncio.connection import DefaultParser

__all__ = ["Wire", "Word"]

Word = str | bytes | int | float
"""One word of a command."""
_NOT_YET = object()


class Wire(asyncio.Protocol):
    """Takes a connection over from the protocol that has made it, and is told by asyncio what happens to it."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._maker = transport.get_protocol()
        parse_error: Any = cast("Any", DefaultParser).parse_error
        self._reader = Reader(protocolError=foreign.InvalidResponse, replyError=parse_error, notEnoughData=_NOT_YET)
        self._reply: asyncio.Future[object] | None = None
        transport.set_protocol(self)

    @property
    def is_open(self) -> bool:
        """Whether a command can be sent, as far as is known here."""
        return not self._transport.is_closing()

    async def ask(self, *words: Word, timeout: float) -> object:
        """The reply to one command, in bytes; nobody else may be waiting for one.

        Whoever is interrupted leaves a closed connection behind, not one with an old reply in it.

        Args:
            words: The command and its arguments.
            timeout: Seconds until the connection counts as dead.

        Raises:
            redis.exceptions.RedisError: The reply is an error, or is none.
            OSError: The connection broke, or is dead.
        """
        loop = asyncio.get_running_loop()
        packed = pack_command(cast("Any", words))  # its type allows for one word only
        self._reply = reply = loop.create_future()
        self._transport.write(packed)
        alarm = loop.call_later(timeout, self.close, TimeoutError())
        try:
            found = await reply
        except BaseException as error:
            self.close(error)
            raise
        finally:
            alarm.cancel()
        if isinstance(found, Exception):
            raise found
        return found

    def close(self, error: BaseException) -> None:
        """Hang up at once; whoever still waits for a reply gets this error. May be called again."""
        reply, self._reply = self._reply, None
        if reply is not None and not reply.done():
            reply.set_exception(error)
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._reader.feed(data)
        try:
            found: object = self._reader.gets()
        except foreign.InvalidResponse as error:
            self.close(error)
            return
        if found is _NOT_YET and self._reply is not None:
            return
        reply, self._reply = self._reply, None
        if reply is not None and not reply.done():
            reply.set_result(found)
        if reply is None or self._reader.has_data():  # nobody asked for it, be it half a reply or one too many
            self.close(foreign.InvalidResponse("a reply to nothing"))

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self.close(exc or foreign.ConnectionError("Connection closed by server."))
        self._maker.connection_lost(exc)
