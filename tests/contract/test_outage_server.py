"""Redis answers, but with errors: it loads, is busy, is full, or has forgotten all. Nobody gives up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis.asyncio

from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService
from hippo_messenger.catalogue.model import EventData
from hippo_messenger.errors import DeadLetter, NotSentError, RedisLoadingError, RedisOutOfMemoryError
from hippo_messenger.job import HippoJob
from hippo_messenger.settings import Settings
from hippo_messenger.testing import CrashPoint, Proxy, eventually
from tests.conftest import StartServer
from tests.contract.bus import Bus
from tests.contract.outages import MortalServer, System, order


@pytest.fixture
async def own_bus(start_server: StartServer, settings: Settings) -> AsyncIterator[Bus]:
    """On a server of its own, which it may treat badly."""
    bus = Bus(start_server(), settings)
    yield bus
    await bus.close()


@pytest.mark.chaos
async def test_scripts_that_are_forgotten_at_any_moment_are_sent_again(own_bus: Bus) -> None:
    system = await System.started(own_bus)
    flushed = 0

    async def flush() -> None:
        nonlocal flushed
        while True:
            await own_bus.redis.script_flush()
            flushed += 1
            await asyncio.sleep(0.001)

    flushing = asyncio.create_task(flush())
    for _ in range(10):
        await asyncio.gather(*(system.send() for _ in range(50)))
    await system.works()
    flushing.cancel()

    assert flushed > 10
    assert set(system.processed.values()) == {1}
    assert await own_bus.count("broker", "failed") == await own_bus.count("account", "failed") == 0


@pytest.mark.chaos
async def test_after_a_flush_of_everything_services_register_again_and_events_travel(own_bus: Bus) -> None:
    system = await System.started(own_bus)

    await own_bus.redis.flushall()

    await system.works()
    assert await own_bus.redis.hkeys(own_bus.layout.registry) == [b"account"]


@pytest.mark.chaos
async def test_after_a_flush_the_broker_gives_the_registry_back_so_that_no_service_misses_an_event(
    own_bus: Bus,
) -> None:
    """Though none of them looks by itself for a long time."""
    own_bus.settings = own_bus.settings.model_copy(update={"presence_interval": 600.0})
    await own_bus.broker()
    for service in (HippoService.ACCOUNT, HippoService.BILLING):
        await own_bus.listener(service, HippoEvent.ORDER_SUCCESS)

    await own_bus.redis.flushall()
    await own_bus.messenger(HippoService.ORDER).send(order(1))

    for name in ("account", "billing"):
        await own_bus.settled(name, wait=1)


@pytest.mark.chaos
async def test_after_a_flush_a_registration_is_added_to_those_that_the_broker_knows(own_bus: Bus) -> None:
    own_bus.settings = own_bus.settings.model_copy(update={"presence_interval": 600.0})
    await own_bus.broker()
    account = await own_bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    await own_bus.listener(HippoService.BILLING, HippoEvent.ORDER_SUCCESS)

    await own_bus.redis.flushall()
    account.set_listeners([])
    await account.register(wait=True)
    await own_bus.messenger(HippoService.ORDER).send(order(1))

    await own_bus.settled("billing", wait=1)
    assert await own_bus.counts("account") == {}


@pytest.mark.chaos
async def test_a_broker_that_could_not_give_the_registry_back_knows_it_still_for_the_next_time(
    own_bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    own_bus.settings = own_bus.settings.model_copy(update={"presence_interval": 600.0})
    proxy = Proxy(own_bus.url)
    await proxy.start()
    own_bus.stack.push_async_callback(proxy.stop)
    await own_bus.broker(url=proxy.url, settings=own_bus.settings.model_copy(update={"call_timeout": 0.5}))
    account = await own_bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    await own_bus.listener(HippoService.BILLING, HippoEvent.ORDER_SUCCESS)
    proxy.trap(CrashPoint.parse("before remember"), lambda: proxy.refuse(on=True))

    await own_bus.redis.flushall()
    await account.register()

    async def it_failed() -> None:
        assert "has to wait" in caplog.text

    await eventually(it_failed)
    proxy.refuse(on=False)

    async def both_stand() -> None:
        assert sorted(await own_bus.redis.hkeys(own_bus.layout.registry)) == [b"account", b"billing"]

    await eventually(both_stand)


@pytest.mark.chaos
async def test_what_a_broker_gives_back_is_replaced_by_the_word_of_the_service(own_bus: Bus) -> None:
    await own_bus.broker()
    await own_bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)

    await own_bus.redis.flushall()
    await own_bus.messenger(HippoService.ORDER).send(order(1))
    await own_bus.settled("account", wait=1)

    async def registered_by_itself() -> None:
        assert await own_bus.redis.hget(own_bus.layout.registry_counters, "account") is not None

    await eventually(registered_by_itself)


@pytest.mark.chaos
async def test_a_full_redis_takes_no_event_and_says_so_and_when_it_has_room_again_all_goes_on(own_bus: Bus) -> None:
    system = await System.started(own_bus)
    waiting = [await system.send() for _ in range(20)]

    await own_bus.redis.config_set("maxmemory", 1)
    with pytest.raises(NotSentError, match="not sent") as caught:
        await own_bus.messenger(HippoService.ORDER).send(order(1))
    assert isinstance(caught.value.__cause__, RedisOutOfMemoryError)
    # What is there already is worked off all the same, which is how a full Redis gets room.
    await own_bus.redis.config_set("maxmemory", 0)

    await system.works()
    assert {system.processed[event_id] for event_id in waiting} == {1}


@pytest.mark.chaos
async def test_a_worker_on_a_full_redis_settles_what_it_has_and_takes_no_harm(own_bus: Bus) -> None:
    system = await System.started(own_bus)
    before = await own_bus.count("account", "completed")
    await own_bus.redis.hset(own_bus.queue("account").base + "meta", "paused", 1)
    ids = await system.account.send_many([order(number) for number in range(10)], notify_self=True)
    system.sent += ids

    await own_bus.redis.config_set("maxmemory", 1)
    await own_bus.redis.hdel(own_bus.queue("account").base + "meta", "paused")
    await eventually(system.done, timeout=20)
    await own_bus.redis.config_set("maxmemory", 0)

    await own_bus.settled("account", completed=before + 10)
    assert {system.processed[event_id] for event_id in ids} == {1}


@pytest.mark.chaos
async def test_a_limit_of_dead_letters_holds_up_nothing_on_a_full_redis_and_counts_again_later(
    own_bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    """Pausing the queue needs room; a worker that insisted on it would settle nothing that makes some."""
    settings = own_bus.settings.model_copy(update={"dead_letter_limit": 1})
    account = own_bus.messenger(HippoService.ACCOUNT, settings=settings)
    release, begun = asyncio.Event(), asyncio.Event()
    dead: set[str] = set()

    async def process(job: HippoJob[EventData]) -> None:
        if job.id in dead:
            await begun.wait()
            raise DeadLetter("never")
        begun.set()
        await release.wait()

    dead |= {"a-job-that-is-dead", "another-that-is-dead"}
    await own_bus.worker(account, process, concurrency=2)
    meta = own_bus.queue("account").base + "meta"
    await own_bus.redis.hset(meta, "paused", 1)
    for event_id in ("a-job-that-is-dead", "a-job-that-is-done"):
        await account.send(order(1), event_id=event_id, notify_self=True)

    await own_bus.redis.config_set("maxmemory", 1)
    await own_bus.redis.hdel(meta, "paused")
    await own_bus.settled("account", active=1, failed=1)
    release.set()
    await own_bus.settled("account", completed=1, failed=1)
    assert "account: could not be paused at its limit of dead letters" in caplog.text
    await own_bus.redis.config_set("maxmemory", 0)

    await account.send(order(1), event_id="another-that-is-dead", notify_self=True)
    await own_bus.settled("account", completed=1, failed=2)

    async def paused() -> bool:
        return bool(await own_bus.redis.hget(meta, "paused") == b"1")

    await eventually(paused)


@pytest.mark.chaos
async def test_what_processors_say_of_their_jobs_holds_up_nothing_on_a_full_redis(
    own_bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    """A line that waited for room would keep what makes room from being settled."""

    async def talkative(job: HippoJob[EventData]) -> None:
        await job.log("half way")
        await job.update_progress(50)

    account = own_bus.messenger(HippoService.ACCOUNT)
    await own_bus.worker(account, talkative, concurrency=2)
    meta = own_bus.queue("account").base + "meta"
    await own_bus.redis.hset(meta, "paused", 1)
    ids = await account.send_many([order(number) for number in range(10)], notify_self=True)

    await own_bus.redis.config_set("maxmemory", 1)
    await own_bus.redis.hdel(meta, "paused")

    await own_bus.settled("account", completed=10)
    assert f"account: what job {ids[0]} says of itself is lost: " in caplog.text


@pytest.mark.chaos
async def test_a_script_of_somebody_that_never_ends_is_waited_out(own_bus: Bus) -> None:
    own_bus.settings = own_bus.settings.model_copy(update={"call_timeout": 1.0})
    await own_bus.redis.config_set("lua-time-limit", 100)
    system = await System.started(own_bus)
    somebody: Any = redis.asyncio.Redis.from_url(own_bus.url, socket_timeout=60)
    endless = asyncio.create_task(somebody.eval("while true do end", 0))

    await system.observer.met(RedisLoadingError)
    with pytest.raises(NotSentError, match="busy") as caught:
        await system.sender.send(order(1), event_id="while-redis-is-busy")
    assert isinstance(caught.value.__cause__, RedisLoadingError)
    await own_bus.redis.script_kill()

    with pytest.raises(redis.exceptions.ResponseError):
        await endless
    await somebody.aclose()
    await system.works()
    assert "while-redis-is-busy" not in system.processed


@pytest.mark.chaos
async def test_a_redis_that_loads_its_data_is_waited_out(mortal_server: MortalServer, mortal_bus: Bus) -> None:
    await mortal_server.start("--appendonly", "no")
    system = await System.started(mortal_bus)
    await mortal_bus.redis.mset({f"filler-{number}": "x" for number in range(2000)})
    await mortal_bus.redis.save()
    await mortal_server.kill()

    # Every key takes a millisecond to load, and commands are answered meanwhile.
    slowly = ("--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024")
    await mortal_server.start("--appendonly", "no", *slowly)

    await system.observer.met(RedisLoadingError)
    await system.works()


@pytest.mark.chaos
async def test_a_redis_that_comes_back_empty_gets_its_registrations_again(
    mortal_server: MortalServer, mortal_bus: Bus
) -> None:
    await mortal_server.start("--appendonly", "no")
    system = await System.started(mortal_bus)
    await mortal_bus.listener(HippoService.BILLING, HippoEvent.ORDER_SUCCESS)

    await mortal_server.kill()
    await mortal_server.start("--appendonly", "no")

    await system.works()

    async def known() -> None:
        assert set(await mortal_bus.redis.hkeys(mortal_bus.layout.registry)) == {b"account", b"billing"}

    await eventually(known)


@pytest.mark.chaos
async def test_a_redis_that_was_killed_has_every_job_and_begins_its_events_streams_anew(
    mortal_server: MortalServer, mortal_bus: Bus
) -> None:
    """Who follows them goes on after the last event that they have seen."""
    await mortal_server.start()
    system = await System.started(mortal_bus)
    stream = f"{mortal_bus.queue('account').base}events"
    await asyncio.gather(*(system.send() for _ in range(20)))
    await system.works()
    await mortal_bus.settled("account", completed=len(system.sent))
    seen = (await mortal_bus.redis.xrevrange(stream, count=1))[0][0]

    await mortal_server.kill()
    await mortal_server.start()
    await mortal_bus.redis.connection_pool.disconnect()

    assert await mortal_bus.counts("account") == {"completed": len(system.sent)}
    assert await mortal_bus.job_ids("account") == sorted(system.sent)
    await system.works()
    await mortal_bus.settled("account", completed=len(system.sent))
    [(_, followed)] = await mortal_bus.redis.xread({stream: seen})
    assert followed == await mortal_bus.redis.xrange(stream)
    assert {fields[b"event"] for _, fields in followed} >= {b"added", b"waiting", b"active", b"completed"}
