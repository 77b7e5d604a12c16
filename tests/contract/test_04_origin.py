"""Promise 4: the broker never sends an event back; `notify_self` does, in the same step, under the same id."""

from __future__ import annotations

from decimal import Decimal

import pytest

from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService, OrderSuccess
from hippo_messenger.errors import EventIdInUseError, NotSentError
from tests.contract.bus import Bus, Recorder

ORDER = OrderSuccess(order_id="A-1", total=Decimal(1))


async def test_a_sender_that_listens_to_its_own_event_does_not_get_it_back(bus: Bus) -> None:
    await bus.broker()
    order = await bus.listener(HippoService.ORDER, HippoEvent.ORDER_SUCCESS)
    await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)

    await order.send(ORDER)

    await bus.settled("account", wait=1)
    assert await bus.counts("order") == {}


async def test_notify_self_puts_one_copy_into_the_senders_own_queue_under_the_same_id(bus: Bus) -> None:
    await bus.broker()
    order = await bus.listener(HippoService.ORDER, HippoEvent.ORDER_SUCCESS)
    recorder = Recorder()
    await bus.worker(order, recorder)
    await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)

    event_id = await order.send(ORDER, notify_self=True)

    [job] = await recorder.got(1)
    assert (job.id, job.origin) == (event_id, HippoService.ORDER)
    await bus.settled("account", wait=1)
    await bus.settled("order", completed=1)
    assert (await bus.job("order", event_id))["opts"]["attempts"] == 3


async def test_both_copies_are_added_or_none(bus: Bus) -> None:
    await bus.redis.set(bus.queue("order").base + "wait", "not a list")
    sender = bus.messenger(HippoService.ORDER)

    with pytest.raises(NotSentError, match="order:wait holds a string"):
        await sender.send(ORDER, notify_self=True)

    assert await bus.counts("broker") == {}
    await sender.send(ORDER)
    assert await bus.counts("broker") == {"wait": 1}


async def test_an_event_whose_direct_copy_has_no_place_is_refused(bus: Bus) -> None:
    """It was sent without its copy: what another service had sent under that id was taken for it."""
    await bus.broker(settings=bus.settings.model_copy(update={"completed_count": 0}))
    account = await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    await bus.messenger(HippoService.ORDER).send(ORDER, event_id="an-id-that-both-use")
    await bus.settled("account", wait=1)
    await bus.settled("broker")
    await bus.redis.set(bus.queue("account").job("an-id-that-is-a-text"), "x")

    with pytest.raises(EventIdInUseError, match="another service has sent an event with the id an-id-that-both-use"):
        await account.send(ORDER, event_id="an-id-that-both-use", notify_self=True)
    with pytest.raises(NotSentError, match="an-id-that-is-a-text holds a string, expected a hash"):
        await account.send(ORDER, event_id="an-id-that-is-a-text", notify_self=True)

    assert await bus.counts("broker") == {}
    assert await bus.counts("account") == {"wait": 1}
    assert (await bus.job("account", "an-id-that-both-use"))["data"]["source"] == "order"


async def test_a_delay_counts_once_for_both_copies(bus: Bus) -> None:
    sender = bus.messenger(HippoService.ORDER)

    await sender.send(ORDER, notify_self=True, delay=60)

    assert await bus.counts("broker") == {"delayed": 1}
    assert await bus.counts("order") == {"delayed": 1}


async def test_a_priority_goes_with_every_copy(bus: Bus) -> None:
    await bus.broker()
    await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)

    event_id = await bus.messenger(HippoService.ORDER).send(ORDER, notify_self=True, priority=7)

    await bus.settled("account", prioritized=1)
    assert await bus.counts("order") == {"prioritized": 1}
    assert (await bus.job("account", event_id))["opts"]["priority"] == 7
