"""Promise 7: `register` returns when queued, with `wait=True` when routing is live; a new list replaces the old."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from examples.own_catalogue import CATALOGUE, ShopService
from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService, OrderSuccess
from hippo_messenger.errors import InvalidRegistrationError, RedisUnavailableError, RegistrationTimeoutError
from hippo_messenger.testing import Proxy, eventually
from tests.contract.bus import Bus
from tests.contract.outages import Listening

ORDER = OrderSuccess(order_id="A-1", total=Decimal(1))


async def test_register_returns_when_the_registration_is_queued_at_the_head_of_the_line(bus: Bus) -> None:
    await bus.messenger(HippoService.ORDER).send_many([ORDER] * 3)

    await bus.messenger(HippoService.ACCOUNT, [HippoEvent.ORDER_SUCCESS]).register()

    job = await bus.job("broker", "4")
    assert job["name"] == "hippo.register"
    assert job["data"]["serviceName"] == "account"
    assert job["data"]["listensTo"] == ["ORDER_SUCCESS"]
    assert (await bus.redis.lrange(bus.queue("broker").base + "wait", -1, -1)) == [b"4"]


async def test_register_wait_returns_when_routing_is_live(bus: Bus) -> None:
    await bus.broker()

    await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    event_id = await bus.messenger(HippoService.ORDER).send(ORDER)

    await bus.settled("account", wait=1)
    assert await bus.job_ids("account") == [event_id]


async def test_register_wait_without_a_broker_says_so(bus: Bus) -> None:
    with pytest.raises(RegistrationTimeoutError, match="is one running"):
        await bus.messenger(HippoService.ACCOUNT).register(wait=True, timeout=0.2)


async def test_who_waits_for_routing_waits_out_an_outage_too(bus: Bus, proxy: Proxy) -> None:
    """Guards against a registration that failed at the first reset, though it was queued and went live."""
    observer = Listening()
    settings = bus.settings.model_copy(update={"presence_interval": 600.0})  # nobody else meets the outage
    account = bus.messenger(
        HippoService.ACCOUNT, [HippoEvent.ORDER_SUCCESS], url=proxy.url, settings=settings, observer=observer
    )
    registering = asyncio.create_task(account.register(wait=True))
    await bus.settled("broker", wait=1)

    proxy.refuse(on=True)
    await observer.met(RedisUnavailableError)
    proxy.refuse(on=False)
    await bus.broker()

    await registering


async def test_who_waits_in_vain_hears_that_redis_is_away(bus: Bus, proxy: Proxy) -> None:
    account = bus.messenger(HippoService.ACCOUNT, url=proxy.url)
    registering = asyncio.create_task(account.register(wait=True, timeout=1))
    await bus.settled("broker", wait=1)

    proxy.refuse(on=True)

    with pytest.raises(RegistrationTimeoutError, match="the last that was heard: Redis") as caught:
        await registering
    assert isinstance(caught.value.__cause__, RedisUnavailableError)


async def test_a_registration_that_the_broker_refuses_says_why(bus: Bus) -> None:
    await bus.broker()
    stranger = bus.messenger(next(iter(ShopService)), catalogue=CATALOGUE)  # type: ignore[arg-type]

    with pytest.raises(InvalidRegistrationError, match="refused"):
        await stranger.register(wait=True)


async def test_a_new_list_replaces_the_old_one(bus: Bus) -> None:
    await bus.broker()
    account = await bus.listener(HippoService.ACCOUNT, HippoEvent.CONFIG_CHANGE)
    sender = bus.messenger(HippoService.ORDER)
    await sender.send(ORDER)

    async def unheard() -> None:
        assert await bus.count("broker", "completed") == 2

    await eventually(unheard)
    assert await bus.counts("account") == {}
    account.set_listeners([HippoEvent.ORDER_SUCCESS])
    await account.register(wait=True)
    event_id = await sender.send(ORDER)

    await bus.settled("account", wait=1)
    assert await bus.job_ids("account") == [event_id]
