"""Promise 12: no order is promised with more than one worker; with one, and no retry, first come is first served."""

from __future__ import annotations

from decimal import Decimal

from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService, OrderCancelled, OrderSuccess
from tests.contract.bus import Bus, Recorder


async def test_one_worker_with_one_slot_gets_events_in_the_order_they_were_sent(bus: Bus) -> None:
    await bus.broker()
    account = await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    recorder = Recorder()
    await bus.worker(account, recorder, concurrency=1)
    sender = bus.messenger(HippoService.ORDER)

    ids = await sender.send_many([OrderSuccess(order_id=str(number), total=Decimal(1)) for number in range(300)])

    await recorder.got(300)
    assert recorder.ids == ids


async def test_types_with_other_listeners_in_between_do_not_change_the_order(bus: Bus) -> None:
    """Guards against routing the events of one batch grouped by who listens, which put one type before the other."""
    await bus.broker()
    both = await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS, HippoEvent.ORDER_CANCELLED)
    await bus.listener(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS)
    recorder = Recorder()
    sender = bus.messenger(HippoService.ORDER)
    events = [
        OrderSuccess(order_id=str(number), total=Decimal(1)) if number % 2 else OrderCancelled(order_id=str(number))
        for number in range(100)
    ]

    ids = await sender.send_many(events)

    await bus.settled("shipping", wait=50)
    await bus.worker(both, recorder, concurrency=1)
    await recorder.got(100)
    assert recorder.ids == ids
