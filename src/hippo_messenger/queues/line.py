"""One line to Redis: a connection that carries one command at a time, and says whether a failed one may have worked."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol, cast

from hiredis import pack_command
from redis import exceptions as foreign
from redis.asyncio import ConnectionPool, RedisCluster

from hippo_messenger.queues.failures import FOREIGN_ERRORS, as_redis_error, says_read_only

__all__ = ["ClusterLine", "Line", "ServerLine", "Word"]

_CLIENTS_OWN = ("CLUSTER", "COMMAND")
Word = str | bytes | int | float
"""One word of a command."""


class Line(Protocol):
    """A connection that is made when it is first needed, and made again when it broke."""

    async def call(self, *words: Word, timeout: float, beside: str | None = None) -> object:
        """The reply to one command, as Redis gives it, in bytes.

        Args:
            words: The command and its arguments.
            timeout: Seconds for everything: waiting for the line's turn, connecting, and the reply.
            beside: A key, for a command that has none: the server that has this key is asked.

        Raises:
            RedisError: Whatever went wrong.
        """
        ...

    async def close(self) -> None:
        """Hang up; may be called again."""
        ...


class ServerLine:
    """A line to one server, also where Sentinel says which: one connection, taken from its pool once for all."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool: Any = pool  # its methods have no types
        self._connection: Any = None
        self._is_closed = False
        self._turn = asyncio.Lock()

    async def call(self, *words: Word, timeout: float, beside: str | None = None) -> object:
        """See `Line`."""
        sent = False
        try:
            async with asyncio.timeout(timeout), self._turn:
                connection = await self._connected()
                packed = _packed(words)
                sent = True
                try:
                    await connection.send_packed_command(packed)
                    # Whoever is interrupted here leaves a closed connection behind, not one with an old reply in it.
                    return cast("object", await connection.read_response())
                except FOREIGN_ERRORS as error:
                    if says_read_only(error):  # a primary no more: its name may lead to another one by now
                        await connection.disconnect()
                    raise
        except FOREIGN_ERRORS as error:
            raise as_redis_error(error, maybe_executed=sent) from error

    async def close(self) -> None:
        """See `Line`."""
        self._is_closed = True
        await self._pool.aclose()

    async def _connected(self) -> Any:  # noqa: ANN401 - it has no type
        """The connection, made anew where it broke, or has something in it that nobody asked for."""
        connection = self._connection
        if connection is None:
            connection = self._connection = await self._pool.get_connection()
        elif not connection.is_connected or await connection.can_read():
            await connection.disconnect()
            if not self._is_closed:
                await connection.connect()
        if self._is_closed:  # by somebody else, while this call waited for its turn or its connection
            await self._pool.aclose()
            raise foreign.ConnectionError("the line was closed")
        return connection


class ClusterLine:
    """A line to a Redis Cluster; whether a failed command may have worked is not known, so it may have."""

    def __init__(self, client: RedisCluster) -> None:
        self._client = client
        # Replies are given as they came; the client reads those of its own commands itself.
        for command in list(self._client.response_callbacks):
            if not command.startswith(_CLIENTS_OWN):
                self._client.set_response_callback(command, _as_it_came)
        self._client.result_callbacks.pop("SCAN", None)
        self._turn = asyncio.Lock()

    async def call(self, *words: Word, timeout: float, beside: str | None = None) -> object:
        """See `Line`."""
        try:
            async with asyncio.timeout(timeout), self._turn:
                await self._client.initialize()
                # A command without a key doesn't say which node is meant.
                if beside is not None:
                    node = self._client.get_node_from_key(beside)
                elif words[0] == "INFO":
                    node = self._client.get_default_node()
                else:
                    return cast("object", await self._client.execute_command(*words))
                return cast("object", await self._client.execute_command(*words, target_nodes=node))
        except FOREIGN_ERRORS as error:
            raise as_redis_error(error, maybe_executed=True) from error

    async def close(self) -> None:
        """See `Line`."""
        await self._client.aclose()


def _packed(words: tuple[Word, ...]) -> bytes:
    """A command as it goes over the wire, made in C: the connection's own way takes four times as long."""
    return cast("bytes", pack_command(cast("Any", words)))  # its type allows for one word only


def _as_it_came(response: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - the client library's own type
    return response
