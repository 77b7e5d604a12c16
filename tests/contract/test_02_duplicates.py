"""Promise 2: an event that is sent twice is delivered once, within the window, and the second is counted."""

from __future__ import annotations

from decimal import Decimal

import pytest

from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService, OrderSuccess
from hippo_messenger.errors import NotSentError
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

    with pytest.raises(NotSentError, match="another service"):
        await bus.messenger(HippoService.BILLING).send(ORDER, event_id=EVENT_ID)

    await bus.redis.delete(bus.queue("broker").job(EVENT_ID))  # as its retention would
    await bus.messenger(HippoService.BILLING).send(ORDER, event_id=EVENT_ID)

    async def parked() -> None:
        [job] = await bus.failed("broker")
        assert "an event of another service with the same id" in job["failedReason"]
        assert job["data"]["source"] == "billing"

    await eventually(parked)
    assert (await bus.job("shipping", EVENT_ID))["data"]["source"] == "order"


async def test_the_direct_copy_of_notify_self_is_checked_against_the_window_too(bus: Bus) -> None:
    sender = bus.messenger(HippoService.ORDER)
    await sender.send(ORDER, event_id=EVENT_ID, notify_self=True)
    assert await bus.counts("order") == {"wait": 1}
    for queue in ("broker", "order"):
        await bus.redis.delete(bus.queue(queue).job(EVENT_ID), bus.queue(queue).base + "wait")

    await sender.send(ORDER, event_id=EVENT_ID, notify_self=True)

    assert await bus.counts("order") == {}
    assert await bus.counts("broker") == {"wait": 1}


async def test_after_the_window_the_id_is_free_again(bus: Bus) -> None:
    settings = bus.settings.model_copy(update={"deduplication_window": 0.2, "completed_count": 0})
    await bus.broker(settings=settings)
    await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    sender = bus.messenger(HippoService.ORDER)
    await sender.send(ORDER, event_id=EVENT_ID)
    await bus.settled("account", wait=1)

    async def forgotten() -> None:
        assert not [key async for key in bus.redis.scan_iter(match=f"{bus.layout.seen}:*")]

    await eventually(forgotten)
    await bus.redis.delete(bus.queue("account").job(EVENT_ID))
    await sender.send(ORDER, event_id=EVENT_ID)

    await bus.settled("account", wait=2)


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
