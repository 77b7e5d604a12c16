"""`hippo tail` follows events through all services; run as a process."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest

from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService, OrderSuccess
from tests.contract.bus import Bus, Recorder
from tests.contract.test_16_expiry import passed
from tests.integration.commands import Operator, said

ORDER = OrderSuccess(order_id="A-1", total=Decimal("12.30"))


@pytest.fixture
async def hippo(bus: Bus, tmp_path: Path) -> AsyncIterator[Operator]:
    operator = Operator(bus, tmp_path)
    yield operator
    await operator.close()


async def test_tail_follows_an_event_from_its_sender_to_its_end(bus: Bus, hippo: Operator) -> None:
    await bus.broker()
    shipping = await bus.listener(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS, HippoEvent.ORDER_SHIPPED)
    recorder = Recorder(raises=[RuntimeError("the [carrier] is closed")], returns={"parcel": 7})
    await bus.worker(shipping, recorder)
    order = bus.messenger(HippoService.ORDER)
    tail = await hippo.start("tail", "--event", "ORDER_SUCCESS", "--json", "-n", "4")
    await said(tail, "following shipping")

    event_id = await order.send(ORDER)
    out, err = await tail.communicate()

    assert tail.returncode == 0, err
    steps = [json.loads(line) for line in out.decode().splitlines()]
    assert [step["kind"] for step in steps] == ["sent", "routed", "retry", "processed"]
    assert {step["event_id"] for step in steps} == {event_id}
    assert {step["event_type"] for step in steps} == {"ORDER_SUCCESS"}
    assert {step["origin"] for step in steps} == {"order"}
    assert steps[1]["services"] == ["shipping"]
    assert json.loads(steps[3]["detail"]) == {"parcel": 7}


async def test_tail_shows_an_event_that_was_sent_for_a_while_only_and_came_too_late(bus: Bus, hippo: Operator) -> None:
    broker = await bus.broker()
    await bus.listener(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS)
    await broker.stop()
    tail = await hippo.start("tail", "--json", "-n", "3")
    await said(tail, "following shipping")
    sent = ("send", "ORDER_SUCCESS", '{"orderId":"A-1","total":"1"}', "--from", "order")
    lasting = (await hippo.run(*sent, "--expires", "2999-01-02T03:04:05+01:00", "--delay", "3600")).strip()
    assert (await bus.job("broker", lasting))["data"]["expirytime"] == "2999-01-02T02:04:05.000Z"
    short = (await hippo.run(*sent, "--expires", "0.001")).strip()
    await passed(bus, datetime.fromisoformat((await bus.job("broker", short))["data"]["expirytime"]))

    await bus.broker()

    out, err = await tail.communicate()
    assert tail.returncode == 0, err
    steps = [json.loads(line) for line in out.splitlines()]
    told = [(step["kind"], step["event_id"]) for step in steps]
    assert told == [("sent", lasting), ("sent", short), ("expired", short)]


async def test_tail_shows_what_goes_wrong_and_keeps_to_the_services_asked_for(bus: Bus, hippo: Operator) -> None:
    await bus.broker()
    await bus.listener(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS)
    await bus.listener(HippoService.NOTIFICATION, HippoEvent.ORDER_SUCCESS)
    tail = await hippo.start("tail", "config", "-n", "3")
    await said(tail, "following config")
    with pytest.raises(ValueError, match="required"):
        await bus.messenger(HippoService.CONFIG).send(event_type=HippoEvent.CONFIG_CHANGE, data={})
    await bus.messenger(HippoService.ORDER).send(ORDER)
    await bus.messenger(HippoService.CONFIG).send(ORDER)
    out, _ = await tail.communicate()
    lines = out.decode().splitlines()
    assert "rejected" in lines[0]
    assert "the data doesn't fit CONFIG_CHANGE" in lines[0]
    assert "sent" in lines[1]
    assert "config → notification, shipping" in lines[2]


async def test_tail_tells_what_was_rejected_from_what_the_broker_failed(bus: Bus, hippo: Operator) -> None:
    await bus.broker()
    for service in (HippoService.SHIPPING, HippoService.NOTIFICATION):
        await bus.listener(service, HippoEvent.ORDER_SUCCESS)
    await bus.redis.set(bus.queue("shipping").base + "wait", "no list")  # its copies are parked
    tail = await hippo.start("tail", "--json", "-n", "4")
    await said(tail, "following notification, shipping")
    with pytest.raises(ValueError, match="required"):
        await bus.messenger(HippoService.NOTIFICATION).send(
            event_type=HippoEvent.ORDER_SUCCESS, data={}, notify_self=True
        )

    event_id = await bus.messenger(HippoService.ORDER).send(ORDER)

    out, err = await tail.communicate()
    assert tail.returncode == 0, err
    steps = {step["kind"]: step for step in map(json.loads, out.splitlines())}
    assert set(steps) == {"rejected", "sent", "routed", "failed"}
    assert (steps["rejected"]["queue"], steps["rejected"]["origin"]) == ("broker", "notification")
    assert (steps["routed"]["services"], steps["routed"]["detail"]) == (["notification"], "parked for shipping")
    assert steps["failed"]["event_id"] == f"parked-shipping-{event_id}"
    assert "expected a list" in steps["failed"]["detail"]


async def test_tail_follows_a_service_that_registers_later_too(bus: Bus, hippo: Operator) -> None:
    tail = await hippo.start("tail", "--json", "-n", "4")
    await said(tail, "following the broker and new services")
    await bus.broker()
    shipping = await bus.listener(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS)
    await bus.worker(shipping, Recorder())
    await bus.messenger(HippoService.ORDER).send(ORDER)
    out, err = await tail.communicate()
    assert tail.returncode == 0, err
    steps = [json.loads(line) for line in out.splitlines()]
    assert [step["kind"] for step in steps] == ["registered", "sent", "routed", "processed"]
    assert {steps[0]["origin"], steps[3]["queue"]} == {"shipping"}


async def test_tail_takes_no_copy_of_a_delayed_event_for_a_retry(bus: Bus, hippo: Operator) -> None:
    await bus.broker()
    shipping = await bus.listener(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS)
    tail = await hippo.start("tail", "--json", "-n", "3")
    await said(tail, "following shipping")
    await shipping.send(ORDER, delay=3600, notify_self=True)
    await bus.messenger(HippoService.ORDER).send(ORDER)
    out, err = await tail.communicate()
    assert tail.returncode == 0, err
    assert [json.loads(line)["kind"] for line in out.splitlines()] == ["sent", "sent", "routed"]
