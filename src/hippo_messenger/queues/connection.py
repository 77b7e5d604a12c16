"""A messenger's, broker's or worker's way to Redis: a line for commands, lines to wait on, a client for bullmq."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack

from redis.asyncio import Redis, RedisCluster

from hippo_messenger.errors import (
    ConfigurationError,
    ConnectionNotConfiguredError,
    MessengerClosedError,
    QueueCorruptedError,
    RedisCommandError,
    RedisError,
    RedisEvictsError,
    RedisLoadingError,
    RedisPermissionError,
    RedisReadOnlyError,
    RedisTimeoutError,
    RedisTooOldError,
    RedisUnavailableError,
)
from hippo_messenger.log import log
from hippo_messenger.queues.embedded import EmbeddedServer
from hippo_messenger.queues.endpoint import Client, Endpoint, endpoint_of_client, endpoint_of_url
from hippo_messenger.queues.line import Line, Word
from hippo_messenger.queues.script import Script
from hippo_messenger.settings import Settings

__all__ = ["Connection", "RedisSource", "WaitingLine"]

RedisSource = str | Redis | RedisCluster
"""A URL, "embedded", or a client of `redis.asyncio` whose settings are taken over."""

_VARIABLES = ("HIPPO_REDIS_URL", "REDIS_URL")
_EMBEDDED = "embedded"
_OLDEST = (6, 2)
_BLOCK_MARGIN = 5.0
"""How much longer (s) than the block itself its reply may take, before the peer counts as dead."""
_CHECK_TIME = 4.0


class Connection:
    """Belongs to one event loop, and closes what it opened; a caller's client stays as it is.

    Once it is closed every call raises `MessengerClosedError`.
    """

    def __init__(self, endpoint: Endpoint | None, *, settings: Settings) -> None:
        """Take an endpoint; None is the embedded server, which is started when the connection is opened."""
        self._endpoint = endpoint
        self._settings = settings
        self._server: EmbeddedServer | None = None
        self._commands: Line | None = None
        self._waiting: list[WaitingLine] = []
        self._answers = True
        self._bullmq: Client | None = None
        self._opening: asyncio.Task[None] | None = None
        self._is_closed = False

    @classmethod
    def of(
        cls, source: RedisSource | None, *, settings: Settings, environ: Mapping[str, str] | None = None
    ) -> Connection:
        """The connection that a user asked for; None looks for `HIPPO_REDIS_URL`, then `REDIS_URL`.

        Raises:
            ConnectionNotConfiguredError: None was given, and neither variable is set.
            ConfigurationError: It is something else than a URL or an asynchronous client.
        """
        if source is None:
            source = _from_environment(os.environ if environ is None else environ)
        if isinstance(source, Redis | RedisCluster):
            return cls(endpoint_of_client(source), settings=settings)
        if not isinstance(source, str):
            raise ConfigurationError(
                f'expected a Redis URL, "embedded" or a client of redis.asyncio, got {type(source).__module__}.'
                f"{type(source).__qualname__}; of a blocking client give the URL"
            )
        return cls(None if source.strip() == _EMBEDDED else endpoint_of_url(source.strip()), settings=settings)

    @property
    def description(self) -> str:
        """Where Redis is, without user and password."""
        return _EMBEDDED if self._endpoint is None else self._endpoint.description

    @property
    def answers(self) -> bool:
        """Whether Redis has answered the last command, be it with an error."""
        return self._answers

    async def open(self) -> None:
        """Connect, and look whether this Redis will do; once open it does nothing.

        Raises:
            RedisError: It won't, and why; within five seconds.
            EmbeddedServerError: The embedded server can't be started.
        """
        await self._opened()

    async def execute(self, *words: Word, beside: str | None = None) -> object:
        """The reply to one command; of one that has no key, from the server that has the key `beside`.

        Raises:
            RedisError: It failed.
        """
        try:
            return await self._command(await self._opened(), *words, beside=beside)
        except QueueCorruptedError as error:  # Redis doesn't say which key it is
            raise QueueCorruptedError(f"{words[1]!s}: {error}") from error.__cause__

    async def script(
        self,
        script: Script,
        keys: Sequence[str | bytes],
        arguments: Sequence[Word],
        *,
        on_departure: Callable[[], None] | None = None,
    ) -> object:
        """The reply of a script; `on_departure` is called right before it goes out, and may keep it in by raising.

        Raises:
            RedisError: It failed.
        """
        line = await self._opened()
        words = (len(keys), *keys, *arguments)
        try:
            return await self._command(line, "EVALSHA", script.sha, *words, on_departure=on_departure)
        except RedisCommandError as error:
            if "NOSCRIPT" not in str(error) and "No matching script" not in str(error):
                raise
        return await self._command(line, "EVAL", script.text, *words)

    async def waiting_line(self, *, client_name: str) -> WaitingLine:
        """A line of its own for one that waits, under a client name; it is closed with this connection at the latest.

        Raises:
            RedisError: The connection can't be opened.
        """
        await self._opened()
        line = WaitingLine(self._required().line(client_name=client_name), forget=self._forget)
        self._waiting.append(line)
        return line

    def bullmq_client(self) -> Client:
        """A client for the `bullmq` package; it is closed with this connection."""
        self._check_not_closed()
        if self._bullmq is None:
            self._bullmq = self._required().client(reply_timeout=self._settings.call_timeout)
        return self._bullmq

    async def close(self) -> None:
        """Hang up for good; may be called again."""
        self._is_closed = True
        await self.hang_up()

    async def hang_up(self) -> None:
        """Close what is open; may be called again, and a later call opens anew."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        commands, waiting, client, server = self._commands, self._waiting, self._bullmq, self._server
        self._commands, self._waiting, self._bullmq, self._server = None, [], None, None
        self._answers = True
        async with AsyncExitStack() as last_first:  # where one can't be closed the others are all the same
            if server is not None:
                self._endpoint = None
                last_first.push_async_callback(server.close)
            if client is not None:
                last_first.push_async_callback(client.aclose)
            if commands is not None:
                last_first.push_async_callback(commands.close)
            for line in waiting:
                last_first.push_async_callback(line.close)

    async def _command(
        self, line: Line, *words: Word, beside: str | None = None, on_departure: Callable[[], None] | None = None
    ) -> object:
        try:
            reply = await line.call(
                *words, timeout=self._settings.call_timeout, beside=beside, on_departure=on_departure
            )
        except RedisUnavailableError as error:
            self._answers = False
            if isinstance(error, RedisTimeoutError):
                for waiting in self._waiting:
                    waiting.give_up()
            raise
        except RedisError:
            self._answers = True
            raise
        self._answers = True
        return reply

    async def _opened(self) -> Line:
        """The line for commands. Whoever comes while it is opened shares that attempt: one alone may take seconds."""
        while self._commands is None:
            self._check_not_closed()
            if self._opening is None:
                self._opening = asyncio.create_task(self._open(), name="hippo-connection")
                self._opening.add_done_callback(self._has_ended)
            opening = self._opening
            await asyncio.wait([opening])  # who is cancelled here doesn't take it from the others
            if not opening.cancelled() and (error := opening.exception()) is not None:
                if not isinstance(error, RedisError):
                    raise error
                raise _with_place(error, self.description) from error.__cause__
        return self._commands

    async def _open(self) -> None:
        if self._endpoint is None:
            self._server = await EmbeddedServer.shared().start()
            self._endpoint = endpoint_of_url(self._server.url)
        self._commands = await self._checked(self._endpoint)

    def _has_ended(self, opening: asyncio.Task[None]) -> None:
        self._opening = None
        if not opening.cancelled():
            opening.exception()  # those who wait for it may have given up: then it is no news

    async def _checked(self, endpoint: Endpoint) -> Line:
        line = endpoint.line(client_name=None)
        try:
            facts = _facts(await line.call("INFO", timeout=min(self._settings.call_timeout, _CHECK_TIME)))
            _check_server(facts, where=endpoint.description, allow_eviction=self._settings.allow_eviction)
        except RedisPermissionError:
            log.warning("%s lets nobody ask which version it is (INFO): it goes unchecked", endpoint.description)
        except BaseException:
            await line.close()
            raise
        return line

    def _check_not_closed(self) -> None:
        if self._is_closed:
            raise MessengerClosedError(
                "expected an open connection, got that of a messenger or broker that was closed; make a new one"
            )

    def _forget(self, line: WaitingLine) -> None:
        if line in self._waiting:
            self._waiting.remove(line)

    def _required(self) -> Endpoint:
        if self._endpoint is None:
            raise ConfigurationError("expected an open connection: the embedded server is not started yet")
        return self._endpoint


class WaitingLine:
    """Carries commands that wait, one at a time."""

    def __init__(self, line: Line, *, forget: Callable[[WaitingLine], None]) -> None:
        """Take a line; `forget` is called when this is closed."""
        self._line = line
        self._forget = forget

    async def block(self, *words: Word, timeout: float) -> object:
        """The reply to a blocking command, whose last argument (`timeout`, seconds) is added here.

        Raises:
            RedisError: It failed, or the peer is dead.
        """
        return await self._line.call(*words, timeout, timeout=timeout + _BLOCK_MARGIN)

    def give_up(self) -> None:
        """Wait no more: the peer seems to be dead, and would be waited for until the block is over."""
        self._line.hang_up(TimeoutError("no answer to a command beside this one; the peer may be gone"))

    async def connect(self, key: str) -> None:
        """Connect to the server that has this key, under the line's client name, though there is nothing to wait for.

        Raises:
            RedisError: It failed.
        """
        await self._line.call("EXISTS", key, timeout=_CHECK_TIME)

    async def close(self) -> None:
        """Hang up."""
        self._forget(self)
        await self._line.close()

    async def read_streams(self, after: Mapping[str, str], *, count: int, timeout: float) -> object:
        """The reply to XREAD, which waits up to `timeout` seconds; `after` is stream -> the last id that is known.

        Raises:
            RedisError: It failed, or the peer is dead.
        """
        words: list[Word] = ["XREAD", "COUNT", count, "BLOCK", round(timeout * 1000), "STREAMS"]
        words += [*after, *after.values()]
        return await self._line.call(*words, timeout=timeout + _BLOCK_MARGIN)


def _from_environment(environ: Mapping[str, str]) -> str:
    for variable in _VARIABLES:
        if environ.get(variable):
            return environ[variable]
    raise ConnectionNotConfiguredError(
        "no Redis connection is named: pass redis_connection=… (a URL as redis://localhost:6379, a redis.asyncio "
        f'client, or "embedded" for a server of your own to try things out), or set {" or ".join(_VARIABLES)}'
    )


def _facts(info: object) -> dict[str, str]:
    lines = info.decode(errors="replace").splitlines() if isinstance(info, bytes) else []
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _check_server(facts: Mapping[str, str], *, where: str, allow_eviction: bool) -> None:
    """Raises what speaks against this server."""
    version = facts.get("redis_version", "")
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:2])
    if facts.get("loading") == "1":
        raise RedisLoadingError("Redis is loading its data from disk; wait until it is done")
    if numbers and numbers < _OLDEST:
        raise RedisTooOldError(f"expected Redis 6.2 or newer (or Valkey), got Redis {version}")
    if facts.get("role") == "slave":
        raise RedisReadOnlyError("expected a primary, got a replica, which takes no writes; connect to the primary")
    policy = facts.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        if not allow_eviction:
            raise RedisEvictsError(
                f"expected maxmemory-policy noeviction, got {policy}, under which events would be lost; "
                "CONFIG SET maxmemory-policy noeviction, or HIPPO_ALLOW_EVICTION=1 to take the risk"
            )
        log.warning("%s drops keys when memory is short (maxmemory-policy %s): events can be lost", where, policy)


def _with_place(error: RedisError, where: str) -> RedisError:
    """An error of its own for each who hears of it."""
    placed = type(error)(f"{where}: {error}")
    placed.maybe_executed = False
    return placed
