"""The way to Redis breaks, or is dead without a word: everything connects again by itself and goes on."""

from __future__ import annotations

import asyncio

import pytest

from hippo_messenger.catalogue.golden_hippo import HippoService
from hippo_messenger.errors import PossiblySentError, RedisTimeoutError, RedisUnavailableError
from hippo_messenger.testing import Proxy, eventually
from tests.contract.bus import Bus, Recorder
from tests.contract.outages import System, order


@pytest.mark.chaos
async def test_connections_that_are_reset_again_and_again_lose_nothing(bus: Bus, proxy: Proxy) -> None:
    system = await System.started(bus, url=proxy.url)

    for _ in range(10):
        sending = [asyncio.create_task(system.send()) for _ in range(20)]
        await asyncio.sleep(0)
        proxy.cut()
        await asyncio.gather(*sending)

    await system.works()
    assert await bus.count("account", "completed") == len(system.sent)
    assert not await bus.failed("account")


@pytest.mark.chaos
async def test_a_peer_that_is_gone_without_a_word_is_left_for_a_new_connection(bus: Bus, proxy: Proxy) -> None:
    """Half open: nothing is closed and nothing comes. New connections work, as after a fail-over of the network."""
    bus.settings = bus.settings.model_copy(update={"call_timeout": 1.0})
    system = await System.started(bus, url=proxy.url)

    proxy.half_open()

    await system.works()
    await system.observer.met(RedisTimeoutError)


@pytest.mark.chaos
async def test_who_only_waits_leaves_a_dead_peer_when_a_command_beside_it_gets_no_answer(
    bus: Bus, proxy: Proxy
) -> None:
    """Guards against a wait of minutes: this worker looks by itself after ten of them only."""
    settings = bus.settings.model_copy(update={"call_timeout": 1.0, "block_timeout": 600.0})
    recorder = Recorder()
    account = bus.messenger(HippoService.ACCOUNT, url=proxy.url, settings=settings)
    await bus.worker(account, recorder)

    async def waits() -> None:
        names = [client["name"] for client in await bus.redis.client_list() if client["cmd"] == "bzpopmin"]
        assert bus.queue("account").worker_client_name in names

    await eventually(waits)
    proxy.half_open()
    event_id = await bus.messenger(HippoService.ACCOUNT).send(order(1), notify_self=True)

    assert [job.id for job in await recorder.got(1)] == [event_id]


@pytest.mark.chaos
async def test_a_send_into_a_dead_peer_is_possibly_sent_and_the_same_id_is_delivered_once(
    bus: Bus, proxy: Proxy
) -> None:
    system = await System.started(bus)
    settings = bus.settings.model_copy(update={"call_timeout": 0.5})
    sender = bus.messenger(HippoService.ORDER, url=proxy.url, settings=settings)
    await sender.send(order(1), event_id="the-first-one-of-all")

    proxy.half_open()
    with pytest.raises(PossiblySentError) as caught:
        await sender.send(order(2), event_id="into-the-dead-peer-2")
    assert caught.value.event_ids == ("into-the-dead-peer-2",)
    assert await sender.send(order(2), event_id="into-the-dead-peer-2") == "into-the-dead-peer-2"
    assert await sender.send(order(2), event_id="into-the-dead-peer-2") == "into-the-dead-peer-2"

    system.sent += ["the-first-one-of-all", "into-the-dead-peer-2"]
    await system.works()
    assert system.processed["into-the-dead-peer-2"] == 1


@pytest.mark.chaos
async def test_the_clients_that_somebody_kills_come_back(bus: Bus) -> None:
    system = await System.started(bus)

    for kind in ("normal", "normal", "normal"):
        await bus.redis.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
        await system.works()

    await system.observer.met(RedisUnavailableError)
