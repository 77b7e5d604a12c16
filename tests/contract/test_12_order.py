"""Promise 12: no order is promised with more than one worker; with one, and no retry, first come is first served."""

from __future__ import annotations

from decimal import Decimal

from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService, OrderSuccess
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
