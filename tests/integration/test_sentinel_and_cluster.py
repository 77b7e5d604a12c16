"""Events under Sentinel and on a Redis Cluster, by a URL and by a client of one's own."""

from __future__ import annotations

import asyncio
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest
import redis.asyncio
from redis.asyncio.sentinel import Sentinel

from hippo_messenger.broker import HippoBroker
from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService, OrderSuccess
from hippo_messenger.errors import RedisTimeoutError, RedisUnavailableError
from hippo_messenger.messenger import HippoMessenger
from hippo_messenger.queues.connection import Connection, RedisSource
from hippo_messenger.queues.dead_letters import DeadLetters, Selection
from hippo_messenger.queues.letter import Letter, LetterId
from hippo_messenger.queues.redrive import Redrive, RedrivePlan
from hippo_messenger.settings import Settings
from hippo_messenger.testing import eventually
from tests.conftest import StartServer, free_port

ORDER = OrderSuccess.model_validate({"orderId": "A-1", "total": "12.30"})


@asynccontextmanager
async def connected(source: RedisSource) -> AsyncIterator[Connection]:
    connection = Connection.of(source, settings=Settings())
    try:
        yield connection
    finally:
        await connection.close()


async def test_a_client_of_sentinel(start_server: StartServer, server_binary: str, tmp_path: Path) -> None:
    async with watched(start_server, server_binary, tmp_path) as sentinel_port:
        sentinel = Sentinel([("127.0.0.1", sentinel_port)])  # type: ignore[no-untyped-call]
        client = sentinel.master_for("shop")
        async with connected(client) as connection:
            assert await connection.execute("PING") == b"PONG"
            assert connection.description == f"redis+sentinel://127.0.0.1:{sentinel_port}/shop/0"
        await client.aclose()
        for asked in sentinel.sentinels:
            await asked.aclose()


async def test_events_travel_where_sentinel_says(
    start_server: StartServer, server_binary: str, tmp_path: Path, prefix: str
) -> None:
    async with watched(start_server, server_binary, tmp_path) as sentinel_port:
        await travels(f"redis+sentinel://127.0.0.1:{sentinel_port}/shop/0", prefix)


@pytest.fixture
async def cluster(start_server: StartServer) -> str:
    """The URL of a cluster of one server that has all slots."""
    url = start_server("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    client = redis.asyncio.Redis.from_url(url)
    await client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)  # type: ignore[no-untyped-call]

    async def serves() -> None:
        info = await client.execute_command("CLUSTER", "INFO")  # type: ignore[no-untyped-call]
        assert "cluster_state:ok" in info.decode()

    await eventually(serves)
    await client.aclose()
    return url.replace("redis://", "redis+cluster://").removesuffix("/0")


async def test_events_travel_on_a_cluster(cluster: str, prefix: str) -> None:
    await travels(cluster, prefix)
    client = redis.asyncio.RedisCluster.from_url(cluster.replace("redis+cluster://", "redis://"))
    async with connected(client) as connection:
        await connection.open()
        assert connection.description == cluster
    await client.aclose()


async def test_replies_of_a_cluster_are_as_redis_gives_them(cluster: str) -> None:
    async with connected(cluster) as connection:
        assert await connection.execute("SET", "{x}:hash", "1", "NX") == b"OK"
        assert await connection.execute("SET", "{x}:hash", "1", "NX") is None
        await connection.execute("HSET", "{x}:fields", "one", 1)
        assert await connection.execute("HGETALL", "{x}:fields") == [b"one", b"1"]
        found = await connection.execute("SCAN", 0, "MATCH", "{x}:*", "COUNT", 1000, beside="{x}:fields")
        assert isinstance(found, list)
        assert (found[0], sorted(found[1])) == (b"0", [b"{x}:fields", b"{x}:hash"])
        assert b"cmd=client|list" in cast("bytes", await connection.execute("CLIENT", "LIST", beside="{x}:fields"))


async def test_the_commands_work_on_a_cluster(cluster: str, prefix: str) -> None:
    async with account_at(cluster, prefix) as account:
        following = await started("tail", "-n", "2", "--redis", cluster, "--prefix", prefix)
        assert following.stderr is not None
        assert b"following account" in await following.stderr.readline()
        await account.send(ORDER, notify_self=True)
        await account.send(ORDER, delay=3600, event_id="event-for-later-01")
        assert b"sent" in (await following.communicate())[0]
        for words, expected in (
            (("status", "--json"), b'"workers": 1'),
            (("services",), b"ORDER_SUCCESS"),
            (("events", "ORDER_SUCCESS"), b"account"),
            (("failed", "list"), b"no dead letters"),
            (("pause", "account"), b"account is paused"),
            (("resume", "account"), b"account goes on"),
            (("cancel", "event-for-later-01"), b"is cancelled"),
            (("unregister", "account", "--force"), b"gets no more events"),
        ):
            process = await started(*words, "--redis", cluster, "--prefix", prefix)
            out, err = await process.communicate()
            assert process.returncode == 0, err
            assert expected in out
    demo = await started("demo", "--events", "40", "--redis", cluster)
    out, err = await demo.communicate()
    assert demo.returncode == 0, (out, err)


async def test_dead_letters_are_redriven_discarded_and_put_back_on_a_cluster(cluster: str, prefix: str) -> None:
    settings = Settings(prefix=prefix)
    async with connected(cluster) as connection:
        letters = DeadLetters(connection, queue="account", settings=settings)
        redrive = Redrive(connection, queue="account", settings=settings)
        old = [Letter(LetterId(f"old-{number}", "7"), {"name": b"X", "data": b"{}"}) for number in range(3)]
        assert list(await letters.restore(old)) == [True] * 3
        assert [group.count for group in await letters.groups()] == [3]
        assert (await redrive.run(RedrivePlan(Selection(job_id="old-0")))).redriven == 1
        assert (await letters.discard(Selection(job_id="old-1"), reason="a test")).count == 1
        assert (await redrive.run(RedrivePlan(Selection(rejected=False), rate=100))).redriven == 1
        progress = await redrive.progress()
        assert progress is not None
        assert (progress.state, progress.redriven) == ("done", 1)
        assert await letters.count() == 0
        assert await connection.execute("LRANGE", f"{prefix}:account:wait", 0, -1) == [b"old-2", b"old-0"]


async def test_a_closed_line_to_a_cluster_is_not_connected_again_by_who_waits_at_it(cluster: str, prefix: str) -> None:
    watcher = redis.asyncio.Redis.from_url(cluster.replace("redis+cluster", "redis"))
    await watcher.ping()
    before = len(await watcher.client_list())
    async with connected(cluster) as connection:
        await connection.open()
        calls = [asyncio.create_task(connection.execute("BLPOP", f"{prefix}:nothing", 0)) for _ in range(3)]

        async def one_waits() -> None:
            assert any("b" in client["flags"] for client in await watcher.client_list())

        await eventually(one_waits)
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(end, RedisUnavailableError) for end in ends)

    async def all_are_gone() -> None:
        assert len(await watcher.client_list()) == before

    await eventually(all_are_gone)
    await watcher.aclose()


async def test_who_waits_at_a_cluster_can_be_told_twice_to_give_up(cluster: str, prefix: str) -> None:
    """Guards against a second end of a wait that was ending, which raised in whoever asked for it."""
    async with connected(cluster) as connection:
        line = await connection.waiting_line(client_name="waits")
        waiting = asyncio.create_task(line.block("BZPOPMIN", f"{prefix}:nothing", timeout=60))

        async def waits() -> None:
            clients = await connection.execute("CLIENT", "LIST", beside=prefix)
            assert b"cmd=bzpopmin" in cast("bytes", clients)

        await eventually(waits)
        while not waiting.done():
            line.give_up()
            await asyncio.sleep(0)
        with pytest.raises(RedisTimeoutError):
            await waiting


async def started(*words: str) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hippo_messenger", *words, stdout=PIPE, stderr=PIPE
    )


@asynccontextmanager
async def account_at(url: str, prefix: str) -> AsyncIterator[HippoMessenger]:
    """A broker, and the service account, registered for ORDER_SUCCESS."""
    settings = Settings(prefix=prefix)
    async with (
        HippoBroker(redis_connection=url, settings=settings),
        HippoMessenger(
            service_name=HippoService.ACCOUNT,
            listens_to=[HippoEvent.ORDER_SUCCESS],
            redis_connection=url,
            settings=settings,
        ) as account,
    ):
        await account.register(wait=True)
        yield account


async def travels(url: str, prefix: str) -> None:
    """One registration and one event, all the way to the queue of the service that listens."""
    async with account_at(url, prefix) as account:
        event_id = await account.send(ORDER, notify_self=True)
        found = await account.connection.execute("LRANGE", f"{prefix}:account:wait", 0, -1)
        assert found == [event_id.encode()]


@asynccontextmanager
async def watched(start_server: StartServer, program: str, directory: Path) -> AsyncIterator[int]:
    """A server named `shop` and a Sentinel that watches it."""
    primary = int(start_server().rsplit(":", 1)[1].split("/")[0])
    port = free_port()
    config = directory / "sentinel.conf"
    config.write_text(f"port {port}\nbind 127.0.0.1\nsentinel monitor shop 127.0.0.1 {primary} 1\n")
    devnull = asyncio.subprocess.DEVNULL
    sentinel = await asyncio.create_subprocess_exec(program, str(config), "--sentinel", stdout=devnull)
    try:

        async def listening() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        await eventually(listening)
        yield port
    finally:
        sentinel.kill()
        await sentinel.wait()
