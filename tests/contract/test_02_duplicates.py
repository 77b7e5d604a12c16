"""Promise 2: an event that is sent twice is delivered once, within the window, and the second is counted."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService, OrderSuccess
from hippo_messenger.errors import EventIdInUseError, SendError
from hippo_messenger.testing import eventually
from tests.contract.bus import Bus, Recorder

ORDER = OrderSuccess(order_id="A-1", total=Decimal(1))
EVENT_ID = "an-event-that-comes-twice"


async def test_a_second_copy_completes_as_a_duplicate_even_when_the_first_is_forgotten(bus: Bus) -> None:
    settings = bus.settings.model_copy(update={"completed_count": 0})
    await bus.broker(settings=settings)
    account = await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    recorder = Recorder()
    await bus.worker(account, recorder)
    sender = bus.messenger(HippoService.ORDER)

    await sender.send(ORDER, event_id=EVENT_ID)
    await recorder.got(1)
    await bus.settled("broker")
    await bus.redis.delete(bus.queue("account").job(EVENT_ID))
    await sender.send(ORDER, event_id=EVENT_ID)
    last = await sender.send(ORDER)

    assert (await recorder.got(2))[-1].id == last


async def test_the_duplicate_says_so_in_its_result(bus: Bus) -> None:
    sender = bus.messenger(HippoService.ORDER)
    broker = await bus.broker()
    await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    await sender.send(ORDER, event_id=EVENT_ID)
    await bus.settled("account", wait=1)
    await bus.settled("broker", completed=2)
    await bus.redis.zrem(bus.queue("broker").base + "completed", EVENT_ID)
    await bus.redis.delete(bus.queue("broker").job(EVENT_ID))

    await sender.send(ORDER, event_id=EVENT_ID)

    async def marked() -> None:
        assert (await bus.job("broker", EVENT_ID)).get("returnvalue") == {"duplicate": True}

    await eventually(marked)
    assert await bus.counts("account") == {"wait": 1}
    await broker.stop()


async def test_the_same_id_from_another_source_is_another_event(bus: Bus) -> None:
    await bus.broker()
    shipping = await bus.listener(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS)
    await bus.messenger(HippoService.ORDER).send(ORDER, event_id=EVENT_ID)
    await bus.settled("shipping", wait=1)
    await bus.settled("broker", completed=2)
    for queue in ("broker", "shipping"):
        await bus.redis.delete(bus.queue(queue).job(EVENT_ID))

    await bus.messenger(HippoService.BILLING).send(ORDER, event_id=EVENT_ID)

    async def origin() -> None:
        assert (await bus.job("shipping", EVENT_ID)).get("data", {}).get("source") == "billing"

    await eventually(origin)
    await shipping.close()


async def test_an_id_that_another_service_uses_is_refused_or_parked_never_swallowed(bus: Bus) -> None:
    await bus.broker()
    await bus.listener(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS)
    await bus.messenger(HippoService.ORDER).send(ORDER, event_id=EVENT_ID)
    await bus.settled("broker", completed=2)

    with pytest.raises(EventIdInUseError, match="another service"):
        await bus.messenger(HippoService.BILLING).send(ORDER, event_id=EVENT_ID)

    await bus.redis.delete(bus.queue("broker").job(EVENT_ID))  # as its retention would
    await bus.messenger(HippoService.BILLING).send(ORDER, event_id=EVENT_ID)

    async def parked() -> None:
        [job] = await bus.failed("broker")
        assert "an event of another service with the same id" in job["failedReason"]
        assert job["data"]["source"] == "billing"

    await eventually(parked)
    assert (await bus.job("shipping", EVENT_ID))["data"]["source"] == "order"


async def test_an_event_that_the_broker_has_failed_is_not_told_as_not_sent(bus: Bus) -> None:
    """It stands in Redis, and may be redriven: whoever then sent it under another id sent it twice."""
    stray = {"specversion": "1.0", "id": EVENT_ID, "source": "order", "type": "ORDER_SUCCESS", "data": {}}
    words = {"name": "ORDER_SUCCESS", "data": json.dumps(stray), "opts": "{}", "timestamp": "1", "failedReason": "x"}
    await bus.redis.hset(bus.queue("broker").job(EVENT_ID), mapping=words)
    await bus.redis.zadd(bus.queue("broker").base + "failed", {EVENT_ID: 1})

    with pytest.raises(EventIdInUseError, match="stands among the failed jobs of the broker") as caught:
        await bus.messenger(HippoService.ORDER).send(ORDER, event_id=EVENT_ID)
    assert caught.value.event_ids == (EVENT_ID,)

    await bus.redis.set(bus.queue("broker").job("an-id-that-is-a-text"), "x")
    ids = [EVENT_ID, "an-id-that-is-a-text"]
    with pytest.raises(SendError) as mixed:
        await bus.messenger(HippoService.ORDER).send_many([ORDER, ORDER], event_ids=ids)
    assert (type(mixed.value), mixed.value.event_ids) == (SendError, tuple(ids))


async def test_the_direct_copy_of_notify_self_is_checked_against_the_window_too(bus: Bus) -> None:
    sender = bus.messenger(HippoService.ORDER)
    await sender.send(ORDER, event_id=EVENT_ID, notify_self=True)
    assert await bus.counts("order") == {"wait": 1}
    for queue in ("broker", "order"):
        await bus.redis.delete(bus.queue(queue).job(EVENT_ID), bus.queue(queue).base + "wait")

    await sender.send(ORDER, event_id=EVENT_ID, notify_self=True)

    assert await bus.counts("order") == {}
    assert await bus.counts("broker") == {"wait": 1}


async def window_is_over(bus: Bus, *queues: str, window: float) -> None:
    """Wait until an event is known no more, though its jobs in these queues, which have completed, are still kept."""

    async def over() -> None:
        assert not [key async for key in bus.redis.scan_iter(match=f"{bus.layout.seen}:*")]
        seconds, microseconds = await bus.redis.time()
        for queue in queues:
            ended = await bus.redis.zscore(bus.queue(queue).base + "completed", EVENT_ID)
            assert ended is not None
            assert seconds * 1000 + microseconds / 1000 > ended + window * 1000

    await eventually(over)


async def test_after_the_window_the_id_is_free_again(bus: Bus) -> None:
    """The jobs of the first event, kept for looking at, swallowed the second without a word."""
    settings = bus.settings.model_copy(update={"deduplication_window": 0.2})
    await bus.broker(settings=settings)
    account = await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    order = bus.messenger(HippoService.ORDER, settings=settings)
    listening, sending = Recorder(), Recorder()
    await bus.worker(account, listening)
    await bus.worker(order, sending)
    await order.send(ORDER, event_id=EVENT_ID, notify_self=True)
    await window_is_over(bus, "broker", "account", "order", window=0.2)

    await order.send(OrderSuccess(order_id="A-2", total=Decimal(2)), event_id=EVENT_ID, notify_self=True)

    for recorder in (listening, sending):
        assert [job.data.model_dump()["order_id"] for job in await recorder.got(2)] == ["A-1", "A-2"]
    await bus.settled("account", completed=1)
    await bus.settled("order", completed=1)


async def test_a_service_that_has_still_to_process_the_first_event_gets_no_second(bus: Bus) -> None:
    settings = bus.settings.model_copy(update={"deduplication_window": 0.2})
    await bus.broker(settings=settings)
    await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    order = bus.messenger(HippoService.ORDER, settings=settings)
    await order.send(ORDER, event_id=EVENT_ID)
    await window_is_over(bus, "broker", window=0.2)
    first = await bus.job("account", EVENT_ID)
    await bus.listener(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS)

    await order.send(ORDER, event_id=EVENT_ID)

    await bus.settled("shipping", wait=1)
    assert await bus.counts("account") == {"wait": 1}
    assert await bus.job("account", EVENT_ID) == first


async def test_completed_jobs_are_kept_by_number(bus: Bus) -> None:
    settings = bus.settings.model_copy(update={"completed_count": 3})
    await bus.broker(settings=settings)
    account = await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS, settings=settings)
    recorder = Recorder()
    await bus.worker(account, recorder)

    ids = await bus.messenger(HippoService.ORDER).send_many([ORDER] * 20)

    await recorder.got(20)
    await bus.settled("account", completed=3)
    await bus.settled("broker", completed=3)
    assert len([event_id for event_id in ids if await bus.job("account", event_id)]) == 3
