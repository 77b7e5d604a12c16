"""A small TCP proxy in front of a server, that loses, holds up and breaks what it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from hippo_messenger.errors import ConfigurationError
from hippo_messenger.queues.endpoint import endpoint_of_url
from hippo_messenger.queues.script import load_script

__all__ = ["CrashPoint", "Proxy"]

_CHUNK = 65536
_HEADER = 60
"""So many characters of a script's text tell it from all others: each begins by saying what it does."""
_REPLIES_OF_SCRIPTS = (b"*2\r\n$2\r\nok", b"*3\r\n$2\r\nok", b"*4\r\n$2\r\nok")
_GARBLED = b"*2\r\n$2\r\nok\r\n:7\r\n"


@dataclass(frozen=True, slots=True)
class CrashPoint:
    """A moment in the life of a connection: before or after the call of a named script."""

    after: bool
    script: str

    @classmethod
    def parse(cls, text: str) -> CrashPoint:
        """`before route` or `after settle`: the script is a file of `hippo_messenger/queues/scripts`.

        Raises:
            ConfigurationError: It is neither.
        """
        when, _, script = text.partition(" ")
        try:
            if when not in {"before", "after"}:
                raise FileNotFoundError
            load_script(script)
        except (FileNotFoundError, OSError):
            raise ConfigurationError(
                f"expected `before` or `after` and the name of a script, such as 'after route', got {text!r}"
            ) from None
        return cls(after=when == "after", script=script)

    def is_in(self, request: bytes) -> bool:
        """Whether a request calls the script; by its digest, or by its text where the server didn't have it yet."""
        script = load_script(self.script)
        return script.sha.encode() in request or script.text[:_HEADER].encode() in request


@dataclass
class _Trap:
    point: CrashPoint
    spring: Callable[[], None]
    sprung: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(eq=False)
class _Pair:
    """Both ends of one connection."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    half_open: bool = False
    caught: _Trap | None = None
    """It waits for the next reply."""

    def abort(self) -> None:
        self.client.transport.abort()
        self.server.transport.abort()


class Proxy:
    """Forwards bytes both ways between clients and one Redis, and does harm on demand."""

    def __init__(self, target: str) -> None:
        """Take the URL of the server, redis:// or unix://; `start` listens.

        Raises:
            ConfigurationError: It is something else, which can't be reached over a proxy.
        """
        self._target = _plain(target)
        self._server: asyncio.Server | None = None
        self._to_drop = 0
        self._to_garble = 0
        self._delay = 0.0
        self._delays_scripts_only = False
        self._refuses = False
        self._traps: list[_Trap] = []
        self._pairs: set[_Pair] = set()
        self._handlers: set[asyncio.Task[None]] = set()
        self.dropped = 0
        """How many replies were lost so far."""
        self.garbled = 0
        """How many replies were garbled so far."""

    @property
    def url(self) -> str:
        """How to connect through it, with the login and the database that the server's own URL has."""
        if self._server is None:
            raise ConfigurationError("expected a proxy that was started")
        port = self._server.sockets[0].getsockname()[1]
        target = self._target
        login, at, _ = target.netloc.rpartition("@")
        database = "" if target.scheme == "unix" else target.path or "/0"
        return urlunsplit(("redis", f"{login}{at}127.0.0.1:{port}", database, target.query, ""))

    async def start(self) -> None:
        """Listen on a free port of this machine."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def stop(self) -> None:
        """Break every connection and listen no more; may be called again."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
            self.cut()
            for handler in self._handlers:
                handler.cancel()
            await asyncio.gather(*self._handlers, return_exceptions=True)
            await server.wait_closed()

    def drop_replies(self, count: int) -> None:
        """Lose the next so many replies that are lists, as a script's is, each with its connection.

        The server has done what was asked by then.
        """
        self._to_drop = count

    def garble_replies(self, count: int) -> None:
        """Put nonsense in place of the next so many replies of scripts; the server has done what was asked by then."""
        self._to_garble = count

    def lead_to(self, target: str) -> None:
        """Lead new connections to another server, as when a name moves there; those that there are stay."""
        self._target = _plain(target)

    def delay(self, seconds: float, *, scripts_only: bool = False) -> None:
        """Hold up every reply for so long from now on, or those of scripts only; 0 no longer."""
        self._delay = seconds
        self._delays_scripts_only = scripts_only

    def cut(self) -> None:
        """Break every connection; new ones are taken."""
        for pair in tuple(self._pairs):
            pair.abort()

    def refuse(self, *, on: bool) -> None:
        """Break every connection and each new one at once, until this is called again with `on=False`."""
        self._refuses = on
        if on:
            self.cut()

    def half_open(self) -> None:
        """Let nothing more through on the connections there are, and don't say so; new ones work."""
        for pair in self._pairs:
            pair.half_open = True

    def trap(self, point: CrashPoint, spring: Callable[[], None]) -> asyncio.Event:
        """Call `spring` once, at that point; the event is set when it has happened.

        Before: the server doesn't get the call. After: it has carried it out, and nobody gets the reply.
        """
        trap = _Trap(point, spring)
        self._traps.append(trap)
        return trap.sprung

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handler = asyncio.ensure_future(self._serve(reader, writer))
        self._handlers.add(handler)
        handler.add_done_callback(self._handlers.discard)
        handler.add_done_callback(lambda _: writer.close())  # one that is cancelled before it begins closes nothing

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuses:
            writer.transport.abort()
            return
        try:
            replies_from, requests_to = await self._reach_server()
        except OSError:
            writer.transport.abort()
            return
        pair = _Pair(client=writer, server=requests_to)
        self._pairs.add(pair)
        pumps = [
            asyncio.create_task(self._requests(pair, reader)),
            asyncio.create_task(self._replies(pair, replies_from)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._pairs.discard(pair)
            pair.client.close()
            pair.server.close()
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _reach_server(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._target.scheme == "unix":
            return await asyncio.open_unix_connection(unquote(self._target.path))
        return await asyncio.open_connection(self._target.hostname, self._target.port or 6379)

    async def _requests(self, pair: _Pair, reader: asyncio.StreamReader) -> None:
        try:
            while chunk := await reader.read(_CHUNK):
                if pair.half_open:
                    continue
                if self._traps and self._springs(pair, chunk):
                    return
                pair.server.write(chunk)
                await pair.server.drain()
        except ConnectionError:
            return

    async def _replies(self, pair: _Pair, reader: asyncio.StreamReader) -> None:
        try:
            while chunk := await reader.read(_CHUNK):
                if pair.half_open:
                    continue
                if pair.caught is not None and not chunk.startswith(b"-NOSCRIPT"):
                    self._spring(pair.caught)
                    return
                if self._loses(chunk):
                    return
                if self._delay and (not self._delays_scripts_only or chunk.startswith(_REPLIES_OF_SCRIPTS)):
                    await asyncio.sleep(self._delay)
                pair.client.write(self._garble(chunk))
                await pair.client.drain()
        except ConnectionError:
            return

    def _loses(self, reply: bytes) -> bool:
        """Handshakes (PING, CLIENT, HELLO, INFO) are not what this is about."""
        if self._to_drop <= 0 or not reply.startswith(b"*"):
            return False
        self._to_drop -= 1
        self.dropped += 1
        return True

    def _garble(self, reply: bytes) -> bytes:
        if self._to_garble <= 0 or not reply.startswith(_REPLIES_OF_SCRIPTS):
            return reply
        self._to_garble -= 1
        self.garbled += 1
        return _GARBLED

    def _springs(self, pair: _Pair, request: bytes) -> bool:
        """Whether a trap springs at this request; one that waits for its reply is remembered."""
        for trap in self._traps:
            if trap.point.is_in(request):
                if trap.point.after:
                    pair.caught = trap
                    return False
                self._spring(trap)
                return True
        pair.caught = None
        return False

    def _spring(self, trap: _Trap) -> None:
        if trap in self._traps:
            self._traps.remove(trap)
            trap.sprung.set()
            trap.spring()


def _plain(url: str) -> SplitResult:
    if url == "embedded":
        raise ConfigurationError('expected the URL of a server, got "embedded"; give the url of an EmbeddedServer')
    endpoint_of_url(url)
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "unix"):
        raise ConfigurationError(
            f"expected a server at redis:// or unix:// for a proxy to stand before, got {parts.scheme}://…; TLS, "
            "Sentinel and Cluster can't be reached over a proxy: give the test kit a server without them"
        )
    return parts
