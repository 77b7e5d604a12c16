"""A connection that stands: a reply comes, or breaks off, or is none, or never comes; over TLS too."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme
import uvloop
from redis import exceptions as foreign

from hippo_messenger.queues.connection import Connection
from hippo_messenger.queues.wire import Wire
from hippo_messenger.settings import Settings
from hippo_messenger.testing import eventually

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


class Peer:
    """The other end: what it was asked, and what it is told to say."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def hears(self, word: bytes) -> None:
        await self.reader.readuntil(word + b"\r\n")

    def says(self, words: bytes) -> None:
        self.writer.write(words)


@asynccontextmanager
async def wired() -> AsyncIterator[tuple[Wire, Peer]]:
    peers: asyncio.Queue[Peer] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await peers.put(Peer(reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    peer = await peers.get()
    transport = writer.transport
    assert isinstance(transport, asyncio.Transport)
    try:
        yield Wire(transport), peer
    finally:
        transport.abort()
        peer.writer.close()
        server.close()


async def test_a_reply_comes_in_whatever_pieces() -> None:
    async with wired() as (wire, peer):
        asking = asyncio.create_task(wire.ask("GET", "a", timeout=60))
        await peer.hears(b"a")
        for piece in (b"*2\r\n$5\r\nth", b"ree\r", b"\n$-1\r\n"):
            wire.data_received(piece)  # as asyncio does; what a peer sends may come in one piece
        assert await asking == [b"three", None]


async def test_an_error_reply_leaves_the_wire_open() -> None:
    async with wired() as (wire, peer):
        asking = asyncio.create_task(wire.ask("EVALSHA", "a", timeout=60))
        await peer.hears(b"a")
        peer.says(b"-NOSCRIPT No matching script\r\n")
        with pytest.raises(foreign.NoScriptError):
            await asking
        assert wire.is_open


async def test_whoever_is_cancelled_leaves_no_open_wire_behind() -> None:
    async with wired() as (wire, peer):
        asking = asyncio.create_task(wire.ask("GET", "a", timeout=60))
        await peer.hears(b"a")
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert not wire.is_open


@pytest.mark.parametrize(
    ("words", "found"),
    [(b":1\r\n:2\r\n", 1), (b"what is this\r\n", None)],
    ids=["one reply too many", "no reply at all"],
)
async def test_a_wire_that_says_what_nobody_asked_for_is_closed(words: bytes, found: int | None) -> None:
    async with wired() as (wire, peer):
        asking = asyncio.create_task(wire.ask("GET", "a", timeout=60))
        await peer.hears(b"a")
        peer.says(words)
        if found is None:
            with pytest.raises(foreign.InvalidResponse):
                await asking
        else:
            assert await asking == found
        assert not wire.is_open


@pytest.mark.parametrize("words", [b":1\r\n", b"$5\r\nhal"], ids=["a reply", "half a reply"])
async def test_a_wire_that_speaks_unasked_is_closed(words: bytes) -> None:
    async with wired() as (wire, peer):
        peer.says(words)

        async def is_closed() -> None:
            assert not wire.is_open

        await eventually(is_closed)


async def test_a_reply_that_does_not_come_in_time_ends_the_wire() -> None:
    async with wired() as (wire, peer):
        asking = asyncio.create_task(wire.ask("GET", "a", timeout=0.05))
        await peer.hears(b"a")
        with pytest.raises(TimeoutError):
            await asking
        assert not wire.is_open


async def test_the_end_of_a_connection_is_told_to_whoever_waits() -> None:
    async with wired() as (wire, peer):
        asking = asyncio.create_task(wire.ask("GET", "a", timeout=60))
        await peer.hears(b"a")
        peer.says(b"$5\r\nhal")
        peer.writer.close()
        with pytest.raises(foreign.ConnectionError):
            await asking
        assert not wire.is_open


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


@pytest.mark.parametrize("loop", LOOPS)
def test_a_server_behind_tls(loop: str, redis_server: str, tmp_path: Path) -> None:
    """Over TLS a transport is another one, and each event loop has its own of them."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    behind = urlsplit(redis_server)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(behind.hostname, behind.port)
        await asyncio.gather(_pass_on(reader, back), _pass_on(there, writer), return_exceptions=True)

    async def talk() -> None:
        large = "x" * 3_000_000
        async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
            port = server.sockets[0].getsockname()[1]
            url = f"rediss://127.0.0.1:{port}?ssl_ca_certs={tmp_path / 'ca.pem'}"
            connection = Connection.of(url, settings=Settings(call_timeout=30))
            replies = await asyncio.gather(*(connection.execute("ECHO", word) for word in ("one", large, "three")))
            assert replies == [b"one", large.encode(), b"three"]
            line = await connection.waiting_line(client_name="waiting")
            assert await line.block("BZPOPMIN", "{tls}:nothing", timeout=0.01) is None
            line.give_up()
            assert await line.block("BZPOPMIN", "{tls}:nothing", timeout=0.01) is None
            await connection.close()

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(asyncio.wait_for(talk(), 60))
