"""Every key of ours holds something else for a while: nobody spins, the fault is named, and then all goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import redis.asyncio

from hippo_messenger.catalogue.golden_hippo import HippoEvent
from hippo_messenger.errors import EventValidationError, RedisError, RegistrationTimeoutError, SendError
from hippo_messenger.queues.layout import QueueKeys
from hippo_messenger.settings import Settings
from hippo_messenger.testing import eventually
from tests.conftest import StartServer
from tests.contract.test_05_routing import redrive
from tests.hostile.system import ORDER, SERVICE, System

WRONG: dict[str, tuple[str | int, ...]] = {
    "string": ("SET", "x"),
    "list": ("RPUSH", "x"),
    "set": ("SADD", "x"),
    "zset": ("ZADD", 1, "x"),
    "hash": ("HSET", "x", "1"),
    "stream": ("XADD", "*", "x", "1"),
}
"""Type -> the command that makes a key one of it."""

OF_A_QUEUE = {
    "events": "stream",
    "meta": "hash",
    "stalled": "set",
    "paused": "none",
    **dict.fromkeys(("wait", "active"), "list"),
    **dict.fromkeys(("prioritized", "delayed", "completed", "failed", "marker", "repeat"), "zset"),
    **dict.fromkeys(("id", "pc", "limiter", "stalled-check"), "string"),
    **dict.fromkeys(("metrics:completed", "metrics:failed"), "hash"),
    **dict.fromkeys(("metrics:completed:data", "metrics:failed:data"), "list"),
}
OURS = {
    "registry": "hash",
    "registry:counters": "hash",
    "registry:version": "string",
    f"registry:changes:{SERVICE}": "list",
    "registry:unregistered": "hash",
    "registry:full": "string",
    "layout": "string",
    "senders": "hash",
    f"presence:{SERVICE}": "zset",
    "rejected:broker": "zset",
    "seen": "set",
}
KEYS = {f"{queue}:{name}": right for queue in ("broker", SERVICE) for name, right in OF_A_QUEUE.items()} | OURS

QUIET = ("metrics:", "rejected:", "senders", "registry:changes:", "registry:unregistered", "registry:full")
"""What nobody needs on an event's way: it is left alone, and the event goes by."""
PERIOD = 1.0
CALLS_OF_ONE_SYSTEM = 150
"""What one system may call in a period; at work undisturbed it is some 20, and a loop that spins calls thousands."""


def test_no_key_of_a_queue_is_forgotten() -> None:
    keys = QueueKeys("{p}", "q")
    known = {name.removeprefix(keys.base) for name in (*keys.all, keys.stalled_check, keys.scheduler)}
    assert known <= set(OF_A_QUEUE)


class Spoiled:
    """One system of which one key holds something else."""

    def __init__(self, url: str, prefix: str, *, key: str, kind: str) -> None:
        settings = Settings(
            prefix=prefix,
            call_timeout=5,
            block_timeout=1,
            presence_interval=0.3,
            worker_stall_check=0.3,
            broker_stall_check=0.3,
        )
        self.system = System(url, settings)
        self.key = key
        self.kind = kind
        self.accepted: list[str] = []
        self.errors: list[str] = []

    async def start(self) -> None:
        await self.system.start()
        await self.system.send_and_receive()

    async def spoil(self) -> None:
        """Nothing is on its way now, so that nothing is lost by the deed itself."""
        command, *words = WRONG[self.kind]
        async for key in self._keys():
            both = self.system.redis.pipeline(transaction=True)
            both.delete(key)
            both.execute_command(command, key, *words)
            await both.execute()

    async def repair(self) -> None:
        async for key in self._keys():
            if (await self.system.redis.type(key)).decode() == self.kind:
                await self.system.redis.delete(key)

    async def work(self) -> None:
        """What may be accepted or refused meanwhile, by name."""
        sender = self.system.sender
        for notify_self in (False, True):
            try:
                self.accepted.append(await sender.send(ORDER, notify_self=notify_self))
            except SendError as error:
                self.errors.append(str(error))
        with pytest.raises(EventValidationError):
            await sender.send(event_type=HippoEvent.ORDER_SUCCESS, data={})
        try:
            await self.system.listener.register(wait=True, timeout=0.5)
        except (RedisError, RegistrationTimeoutError, SendError) as error:
            self.errors.append(str(error))

    async def named(self) -> None:
        """Somebody has said which key it is."""
        if any(quiet in self.key for quiet in QUIET):
            return

        def said() -> list[str]:
            return [*self.errors, *(str(error) for error in self.system.watcher.troubles)]

        async def check() -> None:
            assert any(self.key in words for words in said()), (self.key, self.kind, said())

        await eventually(check)

    async def finish(self) -> None:
        """All that was accepted arrives, what was parked after a redrive, and a new event too."""
        await self.system.send_and_receive()
        for record in await self.system.bus.failed("broker"):
            if record["id"].startswith("parked-"):
                await redrive(self.system.bus, "broker", record["id"])

        async def arrived() -> None:
            missing = set(self.accepted) - set(self.system.recorder.ids)
            assert not missing, (self.key, self.kind, missing)

        await eventually(arrived)
        await self.system.drained()
        self.system.check_alive()

    async def _keys(self) -> AsyncIterator[bytes]:
        name = f"{self.system.settings.prefix}:{self.key}"
        if self.key != "seen":
            yield name.encode()
            return
        async for key in self.system.redis.scan_iter(match=name.replace("{", "[{]") + ":*"):
            yield key


@pytest.mark.chaos
@pytest.mark.parametrize("kind", WRONG)
async def test_a_key_of_the_wrong_type_is_named_and_after_its_repair_all_goes_on(
    start_server: StartServer, kind: str
) -> None:
    url = start_server()
    spoiled = [
        Spoiled(url, f"{{t-{number}}}", key=key, kind=kind)
        for number, (key, right) in enumerate(KEYS.items())
        if right != kind
    ]
    try:
        for step in (Spoiled.start, Spoiled.spoil, Spoiled.work, Spoiled.named):
            await asyncio.gather(*(step(each) for each in spoiled))
        calls = await calls_in_a_period(url)
        assert calls < CALLS_OF_ONE_SYSTEM * len(spoiled)
        for step in (Spoiled.repair, Spoiled.finish):
            await asyncio.gather(*(step(each) for each in spoiled))
    finally:
        await asyncio.gather(*(each.system.close() for each in spoiled))


async def calls_in_a_period(url: str) -> int:
    """How many commands the server has run, scripts and waits included."""
    client = redis.asyncio.Redis.from_url(url)
    before = await client.info("commandstats")
    await asyncio.sleep(PERIOD)
    after = await client.info("commandstats")
    await client.aclose()
    names = ("cmdstat_evalsha", "cmdstat_eval", "cmdstat_bzpopmin", "cmdstat_hget", "cmdstat_hset")
    return sum(after.get(name, {}).get("calls", 0) - before.get(name, {}).get("calls", 0) for name in names)


@pytest.mark.chaos
async def test_broker_and_worker_can_be_stopped_while_a_key_is_broken(system: System) -> None:
    for queue in ("broker", SERVICE):
        await system.redis.set(system.key(queue, "wait"), "x")
        await system.redis.zadd(system.key(queue, "marker"), {"0": 0})

    async def have_seen_the_marker() -> None:
        for queue in ("broker", SERVICE):
            assert not await system.redis.exists(system.key(queue, "marker"))

    await eventually(have_seen_the_marker)
    seen = len(system.watcher.troubles)

    async def are_in_trouble() -> None:
        assert len(system.watcher.troubles) > seen + 6

    await eventually(are_in_trouble)
    async with asyncio.timeout(30):
        await asyncio.gather(system.worker.stop(), system.broker.stop())


@pytest.mark.chaos
async def test_a_registration_that_cannot_be_written_holds_up_no_event(system: System) -> None:
    counters = system.bus.layout.registry_counters
    await system.redis.delete(counters)
    await system.redis.set(counters, "x")
    await system.listener.register()

    await system.send_and_receive()
    await system.send_and_receive()

    await system.redis.delete(counters)
    await system.listener.register(wait=True)
    await system.drained()


@pytest.mark.chaos
@pytest.mark.parametrize("value", ["", "x", "\xff", "-1", "1e99", "9" * 400, "NaN", "{}", "[" * 100_000])
async def test_whatever_stands_in_the_registry_is_left_out_and_made_good(system: System, value: str) -> None:
    layout = system.bus.layout
    await system.redis.hset(layout.registry, mapping={SERVICE: value, "nobody": value, "": value})
    await system.redis.hset(layout.registry_counters, mapping={SERVICE: value, "nobody": value, "": value})
    await system.redis.set(layout.registry_version, value)
    await system.bus.broker(observer=system.watcher)

    await system.listener.register(wait=True)

    await system.send_and_receive()
    await system.drained()


async def test_a_registration_under_the_name_of_another_service_takes_nothing_from_it(system: System) -> None:
    layout = system.bus.layout
    await system.redis.hset(layout.registry, "zzz", '{"serviceName":"account","listensTo":[]}')
    await system.redis.incr(layout.registry_version)

    await system.send_and_receive()
