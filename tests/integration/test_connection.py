"""The way to Redis: what may be given as one, what is refused and how clearly, and what it does when the way breaks."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import time
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from tempfile import TemporaryDirectory
from urllib.parse import quote

import pytest
import redis
import redis.asyncio

from hippo_messenger.catalogue.golden_hippo import HippoService, OrderSuccess
from hippo_messenger.errors import (
    ConfigurationError,
    ConnectionNotConfiguredError,
    MessengerClosedError,
    NotSentError,
    RedisAuthenticationError,
    RedisError,
    RedisEvictsError,
    RedisPermissionError,
    RedisReadOnlyError,
    RedisTimeoutError,
    RedisTooOldError,
    RedisUnavailableError,
)
from hippo_messenger.messenger import HippoMessenger
from hippo_messenger.queues.connection import Connection, RedisSource
from hippo_messenger.queues.script import Script
from hippo_messenger.settings import Settings
from hippo_messenger.testing import Proxy, eventually
from tests.conftest import StartServer

SECRET = "a-very-secret-password"
ORDER = OrderSuccess.model_validate({"orderId": "A-1", "total": "12.30"})


@asynccontextmanager
async def connected(source: RedisSource, **settings: float) -> AsyncIterator[Connection]:
    connection = Connection.of(source, settings=Settings.model_validate(settings))
    try:
        yield connection
    finally:
        await connection.close()


async def answers(source: RedisSource) -> bool:
    async with connected(source) as connection:
        return await connection.execute("PING") == b"PONG"


async def refusal(source: RedisSource, **settings: float) -> RedisError:
    """What opening raises; as a message it names the place and no secret."""
    async with connected(source, **settings) as connection:
        with pytest.raises(RedisError) as caught:
            async with asyncio.timeout(5):
                await connection.open()
        assert connection.description in str(caught.value)
        assert SECRET not in str(caught.value)
        assert SECRET not in connection.description
        return caught.value


# --- what may be given ---


async def test_a_url(redis_server: str) -> None:
    assert await answers(redis_server)


async def test_a_path_to_a_socket(start_server: StartServer) -> None:
    with TemporaryDirectory(prefix="hippo-", dir="/tmp") as directory:  # pytest's own are too long for a socket
        start_server("--unixsocket", f"{directory}/redis.sock")
        async with connected(f"unix://{directory}/redis.sock?db=2") as connection:
            assert await connection.execute("PING") == b"PONG"
            assert connection.description == f"unix://{directory}/redis.sock?db=2"


async def test_user_and_password_in_the_url(start_server: StartServer) -> None:
    url = start_server("--requirepass", SECRET)
    assert await answers(url.replace("redis://", f"redis://default:{SECRET}@"))


async def test_what_stands_in_the_environment_when_nothing_is_given() -> None:
    both = {"HIPPO_REDIS_URL": "redis://one", "REDIS_URL": "redis://two"}
    settings = Settings()

    assert Connection.of(None, settings=settings, environ=both).description == "redis://one:6379/0"
    assert Connection.of(None, settings=settings, environ={"REDIS_URL": "redis://two:1/3"}).description == (
        "redis://two:1/3"
    )
    with pytest.raises(ConnectionNotConfiguredError, match=r"redis_connection=.*embedded.*HIPPO_REDIS_URL or"):
        Connection.of(None, settings=settings, environ={})


async def test_a_password_with_such_characters_is_percent_encoded(start_server: StartServer) -> None:
    password = "a/b#c?d[e]f@g:h%i"
    url = start_server("--requirepass", password)
    assert await answers(url.replace("redis://", f"redis://:{quote(password, safe='')}@"))
    assert await answers(f"{url}?password={quote(password, safe='')}")


def test_a_blocking_client_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"client of redis\.asyncio, got redis\.client\.Redis"):
        Connection.of(redis.Redis(), settings=Settings())  # type: ignore[arg-type]


async def test_the_settings_of_a_client_are_taken_over_and_the_client_is_left_alone(start_server: StartServer) -> None:
    url = start_server("--requirepass", SECRET)
    port = int(url.rsplit(":", 1)[1].split("/")[0])
    client = redis.asyncio.Redis(
        host="127.0.0.1", port=port, db=3, password=SECRET, decode_responses=True, socket_timeout=0.001, protocol=3
    )

    async with connected(client) as connection:
        await connection.execute("SET", "key", b"\xff")
        # Bytes come back although the caller's client decodes, and late although it doesn't wait.
        assert await connection.execute("GET", "key") == b"\xff"
        line = await connection.waiting_line(client_name="waiting")
        assert await line.block("BZPOPMIN", "nothing", timeout=0.05) is None
        assert connection.description == f"redis://127.0.0.1:{port}/3"
    assert not client.connection_pool._available_connections

    client.connection_pool.connection_kwargs["socket_timeout"] = 5
    assert await client.ping()
    await client.aclose()


# --- what is refused ---


async def test_nobody_listens_there(unused_port: int) -> None:
    error = await refusal(f"redis://user:{SECRET}@127.0.0.1:{unused_port}")
    assert isinstance(error, RedisUnavailableError)
    assert "is it running" in str(error)


async def test_the_host_has_no_address() -> None:
    assert isinstance(await refusal("redis://no-such-host.invalid"), RedisUnavailableError)


async def test_somebody_listens_and_never_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        error = await refusal(f"redis://127.0.0.1:{mute.getsockname()[1]}")
    assert isinstance(error, RedisTimeoutError)


async def test_something_else_listens_there() -> None:
    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        error = await refusal(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert isinstance(error, RedisError)


async def test_the_password_is_wrong_or_missing(start_server: StartServer) -> None:
    url = start_server("--requirepass", "another")
    assert isinstance(await refusal(url), RedisAuthenticationError)
    wrong = await refusal(url.replace("redis://", f"redis://default:{SECRET}@"))
    assert isinstance(wrong, RedisAuthenticationError)
    assert "check the user and the password" in str(wrong)


async def test_it_is_a_replica(start_server: StartServer) -> None:
    primary = start_server().rsplit(":", 1)[1].split("/")[0]
    error = await refusal(start_server("--replicaof", "127.0.0.1", primary))
    assert isinstance(error, RedisReadOnlyError)
    assert "connect to the primary" in str(error)


async def test_it_evicts_unless_that_is_wanted(start_server: StartServer, caplog: pytest.LogCaptureFixture) -> None:
    url = start_server("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    error = await refusal(url)
    assert isinstance(error, RedisEvictsError)
    assert "noeviction" in str(error)
    async with connected(url, allow_eviction=True) as connection:
        await connection.open()
    assert "events can be lost" in caplog.text


async def test_it_is_too_old() -> None:
    """No old server can be had from the registries: the reply is one of Redis 6.0.16."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await reader.read(65536):
            info = b"# Server\r\nredis_version:6.0.16\r\nrole:master\r\n"
            replies = b"".join(
                b"$%d\r\n%s\r\n" % (len(info), info) if b"INFO" in part and b"SETINFO" not in part else b"+OK\r\n"
                for part in request.split(b"*")[1:]
            )
            writer.write(replies)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        error = await refusal(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert isinstance(error, RedisTooOldError)
    assert "expected Redis 6.2 or newer (or Valkey), got Redis 6.0.16" in str(error)


async def test_the_user_may_not_write(start_server: StartServer) -> None:
    url = start_server("--user", "reader", "on", f">{SECRET}", "~*", "+@read", "+ping", "+info")
    async with connected(url.replace("redis://", f"redis://reader:{SECRET}@")) as connection:
        with pytest.raises(RedisPermissionError) as caught:
            await connection.execute("SET", "key", "value")
    assert SECRET not in str(caught.value)


async def test_a_user_who_may_not_ask_for_the_version_goes_unchecked(
    start_server: StartServer, caplog: pytest.LogCaptureFixture
) -> None:
    url = start_server("--user", "some", "on", f">{SECRET}", "~*", "+@all", "-info")
    assert await answers(url.replace("redis://", f"redis://some:{SECRET}@"))
    assert "unchecked" in caplog.text


async def test_a_send_without_redis_says_not_sent_in_time(unused_port: int) -> None:
    url = f"redis://user:{SECRET}@127.0.0.1:{unused_port}"
    settings = Settings(call_timeout=0.5)
    async with HippoMessenger(service_name=HippoService.ORDER, redis_connection=url, settings=settings) as messenger:
        with pytest.raises(NotSentError) as caught:
            await messenger.send(ORDER)
    assert SECRET not in str(caught.value)
    assert isinstance(caught.value.__cause__, RedisUnavailableError)


async def test_settings_that_fit_no_connection_say_not_sent() -> None:
    """Guards against what has never left the process and is told as possibly sent."""
    odd = redis.asyncio.Redis(connection_pool=redis.asyncio.ConnectionPool(port=1, ssl_cert_reqs="none"))
    async with HippoMessenger(service_name=HippoService.ORDER, redis_connection=odd) as messenger:
        with pytest.raises(NotSentError, match="TypeError") as caught:
            await messenger.send(ORDER)
    assert isinstance(caught.value.__cause__, TypeError)


# --- when the way breaks ---


async def test_a_lost_reply_is_told_from_a_command_that_was_never_sent(proxy: Proxy) -> None:
    setting = "redis.call('SET', KEYS[1], ARGV[1]) return {'a reply that the proxy loses'}"
    async with connected(proxy.url, call_timeout=1) as connection:
        await connection.open()
        proxy.drop_replies(1)
        with pytest.raises(RedisUnavailableError) as lost:
            await connection.execute("EVAL", setting, 1, "{reply}:key", "value")
        assert lost.value.maybe_executed
        assert await connection.execute("GET", "{reply}:key") == b"value"

        await proxy.stop()
        with pytest.raises(RedisUnavailableError) as unsent:
            await connection.execute("EVAL", setting, 1, "{reply}:key", "other")
        assert not unsent.value.maybe_executed


async def test_an_error_reply_is_none_of_the_lost_ones(redis_server: str) -> None:
    async with connected(redis_server) as connection:
        with pytest.raises(RedisError) as caught:
            await connection.execute("NONSENSE")
        assert not caught.value.maybe_executed


async def test_a_cancelled_call_leaves_no_reply_behind_for_the_next(redis_server: str) -> None:
    """Guards against a reply that is taken for the answer to another command."""
    async with connected(redis_server) as connection:
        await connection.open()
        for number in range(50):
            call = asyncio.create_task(connection.execute("ECHO", f"cancelled-{number}"))
            for _ in range(number % 7):
                await asyncio.sleep(0)
            call.cancel()
            assert await connection.execute("ECHO", f"kept-{number}") == f"kept-{number}".encode()
            await asyncio.gather(call, return_exceptions=True)


async def test_many_calls_at_once_take_turns_on_one_connection(redis_server: str) -> None:
    async with connected(redis_server) as connection:
        replies = await asyncio.gather(*(connection.execute("ECHO", number) for number in range(200)))
        assert replies == [str(number).encode() for number in range(200)]
        clients = await connection.execute("CLIENT", "INFO")
        assert isinstance(clients, bytes)


async def test_a_script_that_the_server_has_forgotten_is_sent_again(redis_server: str) -> None:
    script = Script("echo", f"return ARGV[1] -- {time.time_ns()}")
    async with connected(redis_server) as connection:
        assert await connection.script(script, (), ("one",)) == b"one"
        await connection.execute("SCRIPT", "FLUSH")
        assert await connection.script(script, (), ("two",)) == b"two"


@pytest.mark.slow
async def test_a_block_longer_than_the_client_library_would_wait_ends_by_itself(redis_server: str, prefix: str) -> None:
    """Guards against redis-py's default of 5 s, after which a blocking pop was issued anew for ever."""
    async with connected(redis_server) as connection:
        line = await connection.waiting_line(client_name="waiting")
        assert await line.block("BZPOPMIN", f"{prefix}:nothing", timeout=5.5) is None


async def test_a_peer_that_died_while_we_waited_is_noticed() -> None:
    """Half open: the other end answered once, and never again, without closing."""
    waiting = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await reader.read(65536):
                if b"BZPOPMIN" in request:
                    waiting.set()
                    await asyncio.sleep(60)
                info = b"redis_version:7.0.0\r\nrole:master\r\n"
                for part in request.split(b"*")[1:]:
                    is_info = b"INFO" in part and b"SETINFO" not in part
                    writer.write(b"$%d\r\n%s\r\n" % (len(info), info) if is_info else b"+OK\r\n")
                await writer.drain()
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        async with connected(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}") as connection:
            line = await connection.waiting_line(client_name="waiting")
            with pytest.raises(RedisTimeoutError):
                await line.block("BZPOPMIN", "nothing", timeout=0.1)
        assert waiting.is_set()


async def test_closing_does_not_wait_for_a_peer_that_has_stopped(start_server: StartServer) -> None:
    """With a write that can't be flushed; whoever waits for its reply is told at once."""
    url = start_server()
    watcher = redis.asyncio.Redis.from_url(url)
    process = int((await watcher.info("server"))["process_id"])
    connection = Connection.of(url, settings=Settings(call_timeout=3600))
    await connection.execute("PING")
    await (await connection.waiting_line(client_name="waits")).connect("nothing")
    os.kill(process, signal.SIGSTOP)
    try:
        call = asyncio.create_task(connection.execute("SET", "large", b"x" * 30_000_000))
        await asyncio.sleep(0.1)

        await connection.close()

        with pytest.raises(RedisUnavailableError):
            await call
    finally:
        os.kill(process, signal.SIGCONT)
        await watcher.aclose()


async def test_closing_a_connection_in_its_handshake_comes_to_an_end() -> None:
    visitors: list[asyncio.StreamWriter] = []

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visitors.append(writer)

    async with await asyncio.start_server(say_nothing, "127.0.0.1") as server:
        connection = Connection.of(
            f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/3", settings=Settings(call_timeout=3600)
        )
        opening = asyncio.create_task(connection.open())

        async def is_there() -> None:
            assert visitors

        await eventually(is_there)
        opening.cancel()
        await asyncio.wait([opening])
        await connection.close()
        for writer in visitors:
            writer.close()


async def test_calls_at_once_share_one_attempt_to_connect(unused_port: int) -> None:
    """Guards against attempts one after the other: on a host that swallows packets the last call waited a minute."""
    visitors: list[asyncio.StreamWriter] = []

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visitors.append(writer)

    async with await asyncio.start_server(say_nothing, "127.0.0.1", unused_port):
        async with connected(f"redis://127.0.0.1:{unused_port}", call_timeout=0.5) as connection:
            calls = [asyncio.create_task(connection.execute("PING")) for _ in range(10)]

            async def one_is_there() -> None:
                assert visitors

            await eventually(one_is_there)
            calls[0].cancel()
            ends = await asyncio.gather(*calls, return_exceptions=True)

            assert isinstance(ends[0], asyncio.CancelledError)
            assert {type(end) for end in ends[1:]} == {RedisTimeoutError}
            assert len({id(end) for end in ends}) == 10  # each may be changed by who gets it
            assert len(visitors) == 1
        for writer in visitors:
            writer.close()


async def test_a_waiting_line_that_was_closed_is_forgotten(redis_server: str) -> None:
    async with connected(redis_server) as connection:
        line = await connection.waiting_line(client_name="waits")
        await line.connect("nothing")
        there = weakref.ref(line)

        await line.close()
        del line
        gc.collect()

        assert there() is None


async def test_closing_closes_every_connection_that_was_opened(redis_server: str) -> None:
    watcher = redis.asyncio.Redis.from_url(redis_server)
    connection = Connection.of(redis_server, settings=Settings())
    name = f"test-{time.time_ns()}"
    await (await connection.waiting_line(client_name=name)).block("BZPOPMIN", "nothing", timeout=0.01)
    await connection.bullmq_client().ping()
    names = [client["name"] for client in await watcher.client_list()]
    assert name in names
    before = len(names)

    await connection.close()
    await connection.close()

    async def gone() -> None:
        assert len(await watcher.client_list()) <= before - 3

    await eventually(gone)
    await watcher.aclose()


async def test_a_closed_connection_stays_closed_and_one_that_was_hung_up_opens_anew(redis_server: str) -> None:
    connection = Connection.of(redis_server, settings=Settings())
    await connection.open()
    await connection.hang_up()
    assert await connection.execute("PING") == b"PONG"

    await connection.close()

    with pytest.raises(MessengerClosedError, match="make a new one"):
        await connection.open()
    with pytest.raises(MessengerClosedError):
        await connection.execute("PING")
    with pytest.raises(MessengerClosedError):
        await connection.waiting_line(client_name="waits")
    with pytest.raises(MessengerClosedError):
        connection.bullmq_client()


async def test_a_connection_that_is_closed_while_it_opens_stays_closed(redis_server: str) -> None:
    connection = Connection.of(redis_server, settings=Settings())
    opening = asyncio.create_task(connection.open())
    await asyncio.sleep(0)

    await connection.close()

    with pytest.raises(MessengerClosedError):
        await opening
