"""One line to Redis: a connection that carries one command at a time, and says whether a failed one may have worked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

from redis import exceptions as foreign
from redis.asyncio import ConnectionPool, RedisCluster

from hippo_messenger.log import log
from hippo_messenger.queues.failures import FOREIGN_ERRORS, as_redis_error, says_read_only
from hippo_messenger.queues.wire import Wire, Word

__all__ = ["ClusterLine", "Line", "ServerLine", "Word"]

_CLIENTS_OWN = ("CLUSTER", "COMMAND")
_FAREWELL_TIME = 1.0


class Line(Protocol):
    """A connection that is made when it is first needed, and made again when it broke."""

    async def call(
        self,
        *words: Word,
        timeout: float,
        beside: str | None = None,
        on_departure: Callable[[], None] | None = None,
    ) -> object:
        """The reply to one command, as Redis gives it, in bytes.

        Args:
            words: The command and its arguments.
            timeout: Seconds for everything: waiting for the line's turn, connecting, and the reply.
            beside: A key, for a command that has none: the server that has this key is asked.
            on_departure: Called right before the command goes out, from when on Redis may execute it. What it raises
                keeps the command in.

        Raises:
            RedisError: Whatever went wrong.
        """
        ...

    def hang_up(self, error: Exception) -> None:
        """Drop the connection: whatever waits at it fails with this error, and the next call makes another one."""
        ...

    async def close(self) -> None:
        """Hang up for good; may be called again."""
        ...


class ServerLine:
    """A line to one server, also where Sentinel says which: one connection, taken from its pool once for all."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool: Any = pool  # its methods have no types
        self._connection: Any = None
        self._wire: Wire | None = None
        self._is_closed = False
        self._turn = asyncio.Lock()
        self._in_line = 0

    async def call(
        self,
        *words: Word,
        timeout: float,
        beside: str | None = None,
        on_departure: Callable[[], None] | None = None,
    ) -> object:
        """See `Line`."""
        loop = asyncio.get_running_loop()
        deadline, sent = loop.time() + timeout, False
        try:
            wire = await self._turn_at(deadline)
            try:
                if on_departure is not None:
                    on_departure()
                sent = True
                return await wire.ask(*words, timeout=deadline - loop.time())
            finally:
                self._turn.release()
        except FOREIGN_ERRORS as error:
            if says_read_only(error):  # a primary no more: its name may lead to another one by now
                self.hang_up(error)
            raise as_redis_error(error, maybe_executed=sent) from error

    def hang_up(self, error: Exception) -> None:
        """See `Line`."""
        if self._wire is not None:
            self._wire.close(error)

    async def close(self) -> None:
        """See `Line`."""
        self._is_closed = True
        self.hang_up(foreign.ConnectionError("the line was closed"))
        await self._drop_connections()

    async def _turn_at(self, deadline: float) -> Wire:
        """The wire, to nobody else until the turn is released."""
        wire = self._wire
        if wire is not None and wire.is_open and not (self._turn.locked() or self._in_line):
            await self._turn.acquire()  # at once: it is free, and nobody was here first
            return wire
        async with asyncio.timeout_at(deadline):
            self._in_line += 1
            try:
                await self._turn.acquire()
            finally:
                self._in_line -= 1
            try:
                return await self._connected()
            except BaseException:
                self._turn.release()
                raise

    async def _connected(self) -> Wire:
        """The wire, over a connection that is made anew where it broke."""
        if self._wire is not None and self._wire.is_open:
            return self._wire
        connection = self._connection
        if connection is None:
            try:
                connection = self._connection = await self._pool.get_connection()
            except BaseException:
                await self._drop_connections()  # the pool may keep one that is half made, and take it for a whole one
                raise
        else:
            await connection.disconnect(nowait=True)
            if not self._is_closed:
                await connection.connect()
        if self._is_closed:  # by somebody else, while this call waited for its turn or its connection
            await self._drop_connections()
            raise foreign.ConnectionError("the line was closed")
        self._wire = Wire(connection._writer.transport)  # noqa: SLF001 - there is no other way to it
        return self._wire

    async def _drop_connections(self) -> None:
        """Close what the pool has made; a peer that doesn't take leave is not waited for."""
        try:
            async with asyncio.timeout(_FAREWELL_TIME):
                await self._pool.aclose()
        except FOREIGN_ERRORS as error:
            log.debug("a connection was not closed in time: %r", error)


class ClusterLine:
    """A line to a Redis Cluster; whether a command that failed may have worked is not known, so it may have."""

    def __init__(self, client: RedisCluster) -> None:
        self._client = client
        # Replies are given as they came; the client reads those of its own commands itself.
        for command in list(self._client.response_callbacks):
            if not command.startswith(_CLIENTS_OWN):
                self._client.set_response_callback(command, _as_it_came)
        self._client.result_callbacks.pop("SCAN", None)
        self._is_closed = False
        self._turn = asyncio.Lock()
        self._limit: asyncio.Timeout | None = None

    async def call(
        self,
        *words: Word,
        timeout: float,
        beside: str | None = None,
        on_departure: Callable[[], None] | None = None,
    ) -> object:
        """See `Line`."""
        sent = False
        try:
            async with asyncio.timeout(timeout), self._turn:
                if self._is_closed:
                    raise foreign.ConnectionError("the line was closed")
                if on_departure is not None:
                    on_departure()
                sent = True
                try:
                    async with asyncio.timeout(None) as self._limit:
                        return await self._asked(words, beside)
                finally:
                    self._limit = None
        except FOREIGN_ERRORS as error:
            raise as_redis_error(error, maybe_executed=sent) from error

    def hang_up(self, error: Exception) -> None:
        """See `Line`; here whatever waits has timed out."""
        limit, self._limit = self._limit, None  # it can be ended once
        if limit is not None:
            limit.reschedule(asyncio.get_running_loop().time())

    async def close(self) -> None:
        """See `Line`."""
        self._is_closed = True
        self.hang_up(foreign.ConnectionError("the line was closed"))  # who waits would connect again
        await self._client.aclose()

    async def _asked(self, words: Sequence[Word], beside: str | None) -> object:
        await self._client.initialize()
        # A command without a key doesn't say which node is meant.
        if beside is not None:
            node = self._client.get_node_from_key(beside)
        elif words[0] == "INFO":
            node = self._client.get_default_node()
        else:
            return cast("object", await self._client.execute_command(*words))
        return cast("object", await self._client.execute_command(*words, target_nodes=node))


def _as_it_came(response: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the client library's own type
    return response
