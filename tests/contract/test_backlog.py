"""A service's limit of waiting jobs: beyond it events are held by the broker or refused at send, and none is lost."""

from __future__ import annotations

from decimal import Decimal

import pytest

from hippo_messenger.backlog import BacklogLimit
from hippo_messenger.catalogue.golden_hippo import ConfigChange, HippoEvent, HippoService, OrderSuccess
from hippo_messenger.errors import NotSentError, ServiceFullError
from hippo_messenger.messenger import HippoMessenger
from hippo_messenger.observer import Observer
from hippo_messenger.settings import Settings
from hippo_messenger.testing import eventually
from tests.contract.bus import Bus, Recorder

ORDER = OrderSuccess(order_id="A-1", total=Decimal(1))
CHANGE = ConfigChange(key="colour", value="blue")
LIMIT = 5


class Held(Observer):
    def __init__(self) -> None:
        self.seen: list[tuple[str, tuple[str, ...]]] = []

    def held(self, event_type: str, *, origin: str, services: tuple[str, ...]) -> None:
        self.seen.append((event_type, services))


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"backlog_check": 0.05, "backlog_hold": 0.05})


async def shipping_with(bus: Bus, limit: BacklogLimit, *more: HippoEvent) -> HippoMessenger:
    return await bus.listener(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS, *more, backlog=limit)


async def test_beyond_the_limit_events_are_held_and_all_arrive_once_there_is_room(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    observer = Held()
    await bus.broker(observer=observer)
    shipping = await shipping_with(bus, BacklogLimit(LIMIT))
    ids = await bus.messenger(HippoService.ORDER).send_many([ORDER] * 12)
    await bus.settled("shipping", wait=LIMIT)

    async def held_again_and_again() -> None:
        assert len(observer.seen) > 3 * 7

    await eventually(held_again_and_again)
    assert set(observer.seen) == {("ORDER_SUCCESS", ("shipping",))}
    assert await bus.count("shipping", "wait") == LIMIT
    assert caplog.text.count("shipping is full") == 1

    await bus.worker(shipping, recorder := Recorder())
    await recorder.got(12)
    assert sorted(recorder.ids) == sorted(ids)
    for event_id in ids:
        job = await bus.job("broker", event_id)
        assert (job["returnvalue"], job["atm"]) == ({"deliveredTo": ["shipping"]}, "1")


async def test_an_event_is_held_for_all_its_services_or_none_and_others_go_by(bus: Bus) -> None:
    await bus.broker()
    await shipping_with(bus, BacklogLimit(LIMIT))
    await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    await bus.listener(HippoService.BILLING, HippoEvent.CONFIG_CHANGE)
    sender = bus.messenger(HippoService.ORDER)
    await sender.send_many([ORDER] * 12)
    await bus.settled("shipping", wait=LIMIT)

    await sender.send_many([CHANGE] * 20)

    await bus.settled("billing", wait=20)
    assert await bus.counts("account") == await bus.counts("shipping") == {"wait": LIMIT}


async def test_delayed_retries_count_as_waiting(bus: Bus) -> None:
    await bus.broker()
    await shipping_with(bus, BacklogLimit(2))
    order = bus.messenger(HippoService.ORDER)
    await order.send_many([ORDER] * 2)
    await bus.settled("shipping", wait=2)
    base = bus.queue("shipping").base
    await bus.redis.zadd(f"{base}delayed", {await bus.redis.lpop(f"{base}wait"): 2**60})

    await order.send(ORDER)

    async def held() -> None:
        assert await bus.count("broker", "delayed") == 1

    await eventually(held)
    assert await bus.counts("shipping") == {"wait": 1, "delayed": 1}


async def refused(messenger: HippoMessenger) -> ServiceFullError:
    """Wait until sending an order is refused; why."""
    found: list[ServiceFullError] = []

    async def check() -> None:
        try:
            await messenger.send(ORDER)
        except ServiceFullError as error:
            found.append(error)
        assert found

    await eventually(check)
    return found[0]


async def test_a_full_service_that_refuses_makes_send_raise_until_there_is_room(bus: Bus) -> None:
    await bus.broker()
    shipping = await shipping_with(bus, BacklogLimit(LIMIT, when_full="refuse"))
    await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    order = bus.messenger(HippoService.ORDER)
    await order.send_many([ORDER] * LIMIT)
    await bus.settled("shipping", wait=LIMIT)

    error = await refused(order)

    assert isinstance(error, NotSentError)
    assert "not sent: shipping, which listens to ORDER_SUCCESS, has as many waiting jobs" in str(error)
    assert await bus.job("broker", error.event_ids[0]) == {}
    with pytest.raises(ServiceFullError) as caught:
        await order.send_many([ORDER, CHANGE])
    assert len(caught.value.event_ids) == 1

    await bus.worker(shipping, Recorder())

    async def accepted() -> None:
        try:
            await order.send(ORDER)
        except ServiceFullError as error:
            raise AssertionError from error

    await eventually(accepted)


async def test_what_goes_elsewhere_or_later_is_not_refused(bus: Bus) -> None:
    await bus.broker()
    shipping = await shipping_with(bus, BacklogLimit(1, when_full="refuse"))
    order = bus.messenger(HippoService.ORDER)
    event_id = await order.send(ORDER)
    await bus.settled("shipping", wait=1)
    await refused(order)

    await order.send(CHANGE)  # shipping doesn't listen to it
    await order.send(ORDER, delay=3600)  # it may have room by then
    await shipping.send(ORDER)  # its own events don't come back to it
    assert await order.send(ORDER, event_id=event_id) == event_id  # Redis has it already


async def test_a_limit_that_is_lifted_is_lifted_by_every_broker(bus: Bus) -> None:
    await bus.broker()
    await shipping_with(bus, BacklogLimit(1, when_full="refuse"))
    order = bus.messenger(HippoService.ORDER)
    await order.send(ORDER)
    await bus.settled("shipping", wait=1)
    await bus.broker()  # both know the limit, and one of them will take the registration that lifts it
    await refused(order)

    await bus.listener(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS)

    async def lifted() -> None:
        assert await bus.redis.exists(bus.layout.full) == 0

    await eventually(lifted)
    await order.send(ORDER)


async def test_with_the_brokers_gone_nobody_is_refused_for_ever(bus: Bus) -> None:
    broker = await bus.broker()
    await shipping_with(bus, BacklogLimit(1, when_full="refuse"))
    order = bus.messenger(HippoService.ORDER)
    await order.send(ORDER)
    await bus.settled("shipping", wait=1)
    await refused(order)
    await broker.stop()

    async def accepted() -> None:
        assert await bus.redis.exists(bus.layout.full) == 0

    await eventually(accepted)
    await order.send(ORDER)


@pytest.mark.chaos
@pytest.mark.parametrize("note", ["nonsense", "[]", '{"ORDER_SUCCESS":7}', '{"ORDER_SUCCESS":{}}', ""])
async def test_a_note_of_full_services_that_is_none_stops_nobody(bus: Bus, note: str) -> None:
    await bus.redis.set(bus.layout.full, note)
    await bus.messenger(HippoService.ORDER).send(ORDER)
    await bus.redis.delete(bus.layout.full)
    await bus.redis.rpush(bus.layout.full, "x")
    await bus.messenger(HippoService.ORDER).send(ORDER)
