"""Another server becomes the primary: nobody stays with the old one, whose errors say that it takes no writes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis.asyncio

from hippo_messenger.catalogue.golden_hippo import HippoService
from hippo_messenger.errors import NotSentError, PossiblySentError, RedisReadOnlyError
from hippo_messenger.settings import Settings
from hippo_messenger.testing import Proxy, eventually
from hippo_messenger.testing.proxy import CrashPoint
from tests.conftest import StartServer, free_port
from tests.contract.bus import Bus
from tests.contract.outages import Listening, System, order

AT_ONCE = ("--repl-diskless-sync-delay", "0")


def place(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.port is not None
    return "127.0.0.1", parts.port


async def copied(replica: Any, primary: Any) -> None:
    """Wait until the replica has all that the primary has."""

    async def in_step() -> None:
        theirs, ours = await primary.info("replication"), await replica.info("replication")
        assert ours["master_link_status"] == "up"
        assert ours["slave_repl_offset"] >= theirs["master_repl_offset"]

    await eventually(in_step)


@pytest.mark.chaos
async def test_a_primary_that_is_demoted_for_a_while_is_waited_out(
    start_server: StartServer, settings: Settings, unused_port: int
) -> None:
    bus = Bus(start_server(), settings.model_copy(update={"call_timeout": 1.0}))
    system = await System.started(bus)
    observer = Listening()
    sender = bus.messenger(HippoService.ORDER, observer=observer)
    await sender.connection.open()

    await bus.redis.replicaof("127.0.0.1", unused_port)
    first = asyncio.create_task(sender.send(order(1), event_id="to-a-mere-replica-01"))
    await observer.met(RedisReadOnlyError)
    # One that goes out only when the first one's time is over, and has heard no more than that until its own is.
    second = asyncio.create_task(sender.send(order(2), event_id="to-a-mere-replica-02"))
    for sending in (first, second):
        with pytest.raises(NotSentError, match="not sent") as caught:
            await sending
        assert isinstance(caught.value.__cause__, RedisReadOnlyError)
    await system.observer.met(RedisReadOnlyError)
    await bus.redis.replicaof("NO", "ONE")

    await system.works()
    await bus.close()


@pytest.mark.chaos
async def test_a_send_that_once_got_no_reply_stays_possibly_sent_when_later_tries_are_refused(
    start_server: StartServer, settings: Settings, unused_port: int
) -> None:
    bus = Bus(start_server(), settings.model_copy(update={"call_timeout": 1.0}))
    system = await System.started(bus)
    proxy = Proxy(bus.url)
    await proxy.start()
    observer = Listening()
    sender = bus.messenger(HippoService.ORDER, url=proxy.url, observer=observer)
    await sender.connection.open()
    await bus.redis.replicaof("127.0.0.1", unused_port)

    first = asyncio.create_task(sender.send(order(1)))
    await observer.met(RedisReadOnlyError)
    second = asyncio.create_task(sender.send(order(2), event_id="without-a-reply-0001"))
    with pytest.raises(NotSentError):
        await first
    sprung = proxy.trap(CrashPoint.parse("before publish"), proxy.cut)  # the second one goes out now
    with pytest.raises(PossiblySentError):
        await second

    assert sprung.is_set()
    await bus.redis.replicaof("NO", "ONE")
    system.sent.append(await system.sender.send(order(2), event_id="without-a-reply-0001"))
    await system.works()
    await bus.close()
    await proxy.stop()


@pytest.mark.chaos
async def test_a_name_that_leads_to_another_primary_is_asked_anew(
    start_server: StartServer, settings: Settings
) -> None:
    """As a DNS name or a virtual address after a fail-over: the old primary stays up, and refuses writes."""
    old_url, new_url = start_server(*AT_ONCE), start_server(*AT_ONCE)
    old, new = (redis.asyncio.Redis.from_url(url) for url in (old_url, new_url))
    proxy = Proxy(old_url)
    await proxy.start()
    bus = Bus(new_url, settings)
    await new.replicaof(*place(old_url))
    system = await System.started(bus, url=proxy.url)
    await copied(new, old)

    proxy.lead_to(new_url)
    await new.replicaof("NO", "ONE")
    await old.replicaof(*place(new_url))
    # Whatever a send hears from the old primary, it is repeated at the new one within its time.
    system.sent.append("sent-while-it-changed")
    await system.sender.send(order(1), event_id="sent-while-it-changed")

    await system.works()
    assert system.processed["sent-while-it-changed"] == 1
    await bus.close()
    await proxy.stop()
    for client in (old, new):
        await client.aclose()


@pytest.mark.chaos
async def test_a_replica_has_the_events_streams_too(start_server: StartServer, settings: Settings) -> None:
    """Though they are not in the append-only file."""
    primary_url, replica_url = start_server(*AT_ONCE), start_server(*AT_ONCE)
    primary, replica = (redis.asyncio.Redis.from_url(url) for url in (primary_url, replica_url))
    bus = Bus(primary_url, settings)
    system = await System.started(bus)
    await replica.replicaof(*place(primary_url))
    await copied(replica, primary)

    await system.works()
    await bus.settled("account", completed=len(system.sent))

    await copied(replica, primary)
    for queue in ("broker", "account"):
        stream = f"{bus.queue(queue).base}events"
        assert await replica.xrange(stream) == await primary.xrange(stream) != []
    await bus.close()
    for client in (primary, replica):
        await client.aclose()


@pytest.mark.chaos
@pytest.mark.slow
async def test_when_sentinel_makes_a_replica_the_primary_everything_goes_on_there(
    start_server: StartServer, server_binary: str, tmp_path: Path, settings: Settings
) -> None:
    primary_url, replica_url = start_server(*AT_ONCE), start_server(*AT_ONCE)
    primary, replica = (redis.asyncio.Redis.from_url(url) for url in (primary_url, replica_url))
    await replica.replicaof(*place(primary_url))
    async with watched(server_binary, tmp_path, primary_url) as sentinel:
        url = f"redis+sentinel://127.0.0.1:{sentinel.connection_pool.connection_kwargs['port']}/shop/0"
        bus = Bus(replica_url, settings)
        system = await System.started(bus, url=url)
        await copied(replica, primary)
        sending = [asyncio.create_task(system.send()) for _ in range(50)]

        async def begins() -> bool:
            """Sentinel refuses while it doesn't know of a good replica yet."""
            try:
                await sentinel.execute_command("SENTINEL", "FAILOVER", "shop")
            except redis.exceptions.ResponseError:
                return False
            return True

        await eventually(begins, timeout=30, interval=0.2)

        async def promoted() -> bool:
            try:
                return bool((await replica.info("replication"))["role"] == "master")
            except redis.exceptions.ConnectionError:  # a server that changes sides hangs up
                return False

        await eventually(promoted, timeout=30)
        await asyncio.gather(*sending)
        # What only the old primary had is gone: replication doesn't wait. From here on nothing is lost.
        later = [await system.sender.send(order(number)) for number in range(20)]

        async def processed() -> None:
            assert set(later) <= set(system.processed)

        await eventually(processed, timeout=20)
        await bus.close()
    for client in (primary, replica):
        await client.aclose()


@asynccontextmanager
async def watched(program: str, directory: Path, primary_url: str) -> AsyncIterator[Any]:
    """A client of a Sentinel that watches a primary named `shop`."""
    port = free_port()
    config = directory / "sentinel.conf"
    config.write_text(
        f"port {port}\nbind 127.0.0.1\nsentinel monitor shop 127.0.0.1 {place(primary_url)[1]} 1\n"
        "sentinel down-after-milliseconds shop 1000\nsentinel failover-timeout shop 5000\n"
    )
    devnull = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(program, str(config), "--sentinel", stdout=devnull)
    client: Any = redis.asyncio.Redis(host="127.0.0.1", port=port)
    try:

        async def listening() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        await eventually(listening)
        yield client
    finally:
        await client.aclose()
        process.kill()
        await process.wait()
