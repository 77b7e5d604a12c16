"""A stock Node BullMQ service that knows docs/wire-contract.md and nothing else takes part in everything."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from hippo_messenger.catalogue.golden_hippo import ConfigChange, HippoEvent, HippoService, LineItem, OrderSuccess
from hippo_messenger.testing import eventually
from tests.contract.bus import Bus, Recorder
from tests.interop.peer import Peer, run_example

pytestmark = pytest.mark.interop

NASTY = 'Ünïcödé 雅美 🦛 مرحبا \u2028 \\ " \u0000 end'


@pytest.fixture
async def peer(bus: Bus) -> AsyncIterator[Peer]:
    peer = await Peer.start(bus.url, bus.settings.prefix)
    yield peer
    await peer.stop()


def envelope(event_type: str, data: dict[str, Any], *, event_id: str, source: str = "billing") -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": source,
        "type": event_type,
        "time": "2026-01-02T03:04:05.678Z",
        "datacontenttype": "application/json",
        "data": data,
    }


async def live(bus: Bus, service: str) -> None:
    async def registered() -> None:
        assert await bus.redis.hexists(bus.layout.registry, service)

    await eventually(registered)


async def test_python_sends_and_node_processes(bus: Bus, peer: Peer) -> None:
    await bus.broker()
    await peer.tell("register", service="billing", listensTo=["ORDER_SUCCESS", "CONFIG_CHANGE"])
    await live(bus, "billing")
    await peer.tell("work", service="billing")
    sender = bus.messenger(HippoService.ORDER)

    order_id = await sender.send(
        OrderSuccess(
            order_id=NASTY,
            total=Decimal("12345678901234567890.10"),
            items=[LineItem(sku="S", unit_price=Decimal("0.10"))],
            placed_at=datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC),
        )
    )
    nested = {"deep": [{"er": [1, 2.5, True, "x"]}], "largest": 2**53 - 1, "smallest": -(2**53) + 1}
    await sender.send(ConfigChange(key="k", value=nested))

    jobs = {job["name"]: job for job in await peer.got(2)}
    order, config = jobs["ORDER_SUCCESS"], jobs["CONFIG_CHANGE"]
    assert order["id"] == order["got"]["id"] == order_id
    assert (order["got"]["source"], order["got"]["specversion"]) == ("order", "1.0")
    assert order["got"]["data"] == {
        "orderId": NASTY,
        "total": "12345678901234567890.10",
        "items": [{"sku": "S", "quantity": 1, "unitPrice": "0.10"}],
        "placedAt": "2026-01-02T03:04:05.678000Z",
    }
    assert config["got"]["data"] == {"key": "k", "value": nested}
    await bus.settled("billing", completed=2)
    assert (await bus.job("billing", order_id))["returnvalue"] == {"by": "node", "id": order_id}


async def test_node_sends_and_python_processes(bus: Bus, peer: Peer) -> None:
    await bus.broker()
    account = await bus.listener(HippoService.ACCOUNT, HippoEvent.PAYMENT_SUCCEEDED)
    recorder = Recorder(returns={"thanks": NASTY})
    await bus.worker(account, recorder)
    data = {"paymentId": NASTY, "amount": "0.10", "unknown": {"kept": [1, None, 2**53 - 1]}}
    await peer.tell(
        "send",
        name="PAYMENT_SUCCEEDED",
        id="node-payment-0001",
        envelope=envelope("PAYMENT_SUCCEEDED", data, event_id="node-payment-0001") | {"traceparent": "00-a-b-01"},
    )

    [job] = await recorder.got(1)
    assert (job.id, job.origin, job.attempt) == ("node-payment-0001", HippoService.BILLING, 1)
    assert job.time == datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    assert json.loads(job.raw)["data"] == data
    assert json.loads(job.raw)["traceparent"] == "00-a-b-01"
    await bus.settled("account", completed=1)
    looked = await peer.tell("look", service="account", id="node-payment-0001")
    assert (looked["job"]["state"], looked["job"]["returnvalue"]) == ("completed", {"thanks": NASTY})


async def test_node_and_python_workers_share_one_queue(bus: Bus, peer: Peer) -> None:
    await bus.broker()
    account = await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    recorder = Recorder()
    await bus.worker(account, recorder, concurrency=5)
    await peer.tell("work", service="account", concurrency=5)
    sender = bus.messenger(HippoService.ORDER)
    ids: list[str] = []
    for batch in range(10):
        orders = [OrderSuccess(order_id=f"{batch}-{number}", total=Decimal(1)) for number in range(50)]
        ids += await sender.send_many(orders)
        await asyncio.sleep(0)

    await bus.settled("account", completed=500)
    by_node = [said["id"] for said in peer.said if "got" in said]
    assert sorted(recorder.ids + by_node) == sorted(ids)
    assert by_node, "Node took none"
    assert recorder.ids, "Python took none"


async def test_what_node_gets_wrong_fails_in_the_broker_queue_with_its_reasons(bus: Bus, peer: Peer) -> None:
    await bus.broker()
    await bus.listener(HippoService.ACCOUNT, HippoEvent.PAYMENT_SUCCEEDED)
    event_id = "node-payment-wrong"
    wrong = envelope("PAYMENT_SUCCEEDED", {"paymentId": 7}, event_id=event_id)
    await peer.tell("send", name="PAYMENT_SUCCEEDED", id=event_id, envelope=wrong)

    async def failed() -> None:
        looked = await peer.tell("look", service="broker", id=event_id)
        assert looked["job"]["state"] == "failed"
        assert "amount: required" in looked["job"].get("failedReason", "")
        assert "paymentId: Input should be a valid string" in looked["job"].get("failedReason", "")

    await eventually(failed)
    assert await bus.counts("account") == {}


async def test_a_registration_that_node_gets_wrong_says_why(bus: Bus, peer: Peer) -> None:
    await bus.broker()
    said = await peer.tell("register", service="bylling", listensTo=["ORDER_SUCCESS"])

    async def failed() -> None:
        looked = await peer.tell("look", service="broker", id=said["id"])
        assert looked["job"]["state"] == "failed"
        assert "did you mean billing" in looked["job"]["failedReason"]

    await eventually(failed)


async def test_a_copy_in_node_is_retried_as_its_registration_says(bus: Bus, peer: Peer) -> None:
    await bus.broker()
    options = {"attempts": 3, "backoff": {"type": "fixed", "delay": 20}}
    await peer.tell("register", service="billing", listensTo=["ORDER_SUCCESS"], jobOptions=options)
    await live(bus, "billing")
    await peer.tell("work", service="billing", fails=2)

    await bus.messenger(HippoService.ORDER).send(OrderSuccess(order_id="A", total=Decimal(1)))

    assert [job["attempt"] for job in await peer.got(3)] == [1, 2, 3]
    await bus.settled("billing", completed=1)


async def test_delays_and_priorities_of_node_are_kept(bus: Bus, peer: Peer) -> None:
    account = bus.messenger(HippoService.ACCOUNT, [HippoEvent.PAYMENT_SUCCEEDED])
    await account.register()
    for name, options in (("late", {"delay": 300}), ("low", {"priority": 10}), ("high", {"priority": 1})):
        event_id = f"node-payment-{name:->8}"
        data = {"paymentId": name, "amount": "1"}
        sent = envelope("PAYMENT_SUCCEEDED", data, event_id=event_id)
        await peer.tell("send", name="PAYMENT_SUCCEEDED", id=event_id, envelope=sent, options=options)
    await bus.broker()

    async def all_there() -> None:
        assert len(await bus.job_ids("account")) == 3

    await eventually(all_there)
    recorder = Recorder()
    await bus.worker(account, recorder, concurrency=1)
    await recorder.got(3)
    assert [job.id.rsplit("-")[-1] for job in recorder.jobs] == ["late", "high", "low"]


async def test_the_tools_of_bullmq_see_workers_events_schedulers_and_jobs(bus: Bus, peer: Peer) -> None:
    await bus.broker()
    account = await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    await bus.worker(account, Recorder(returns={"done": True}))
    await peer.tell("listen", service="account")

    async def counted() -> None:
        assert (await peer.tell("look", service="account"))["workers"] == 1

    await eventually(counted)
    looked = await peer.tell("look", service="broker")
    assert looked["schedulers"] == [{"key": "hippo.register.account", "every": 300000}]
    event_id = await bus.messenger(HippoService.ORDER).send(OrderSuccess(order_id="A", total=Decimal(1)))

    seen = await peer.until(lambda said: said.get("completed") == event_id)
    assert seen["returnvalue"] == {"done": True}
    looked = await peer.tell("look", service="account", id=event_id)
    assert looked["job"]["state"] == "completed"
    assert looked["counts"]["completed"] == 1


async def test_a_dead_letter_of_python_is_redriven_by_node(bus: Bus, peer: Peer) -> None:
    await bus.broker()
    account = await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    recorder = Recorder(raises=[RuntimeError("boom")] * 3)
    await bus.worker(account, recorder)
    await bus.redis.hset(bus.queue("account").base + "meta", "paused", 1)
    event_id = await bus.messenger(HippoService.ORDER).send(OrderSuccess(order_id="A", total=Decimal(1)))
    await bus.settled("account", wait=1)
    await bus.redis.hset(bus.queue("account").job(event_id), "opts", '{"attempts":1}')
    await bus.redis.hdel(bus.queue("account").base + "meta", "paused")
    await bus.redis.zadd(bus.queue("account").marker, {"0": 0})
    await bus.settled("account", failed=1)
    recorder.raises.clear()

    await peer.tell("retry", service="account", id=event_id)

    await bus.settled("account", completed=1)


async def test_the_examples_of_the_wire_contract_run(bus: Bus, tmp_path: Path) -> None:
    await bus.broker()
    order = await bus.listener(HippoService.ORDER, HippoEvent.PAYMENT_SUCCEEDED)
    recorder = Recorder()
    await bus.worker(order, recorder)

    registering = await run_example("register.mjs", tmp_path, bus.url, bus.settings.prefix)
    assert b"is queued" in (await registering.communicate())[0]
    await live(bus, "billing")
    sending = await run_example("send.mjs", tmp_path, bus.url, bus.settings.prefix)
    said = (await sending.communicate())[0].decode()
    [job] = await recorder.got(1)
    assert said.strip() == f"sent {job.id}"

    working = await run_example("worker.mjs", tmp_path, bus.url, bus.settings.prefix)
    assert working.stdout is not None
    assert await working.stdout.readline() == b"working\n"
    event_id = await order.send(OrderSuccess(order_id="A-1", total=Decimal("12.30")))
    assert (await working.stdout.readline()).decode() == f"billing A-1 for 12.30, said order in {event_id}\n"
    await bus.settled("billing", completed=1)

    late = envelope("ORDER_SUCCESS", {"orderId": "A-2", "total": "1"}, event_id="late-for-node-0001", source="order")
    fields = {"name": "ORDER_SUCCESS", "data": json.dumps(late | {"expirytime": "2026-01-02T03:04:06.000Z"})}
    await bus.redis.hset(bus.queue("billing").job(late["id"]), mapping=fields | {"opts": "{}", "timestamp": 1})
    await bus.redis.lpush(bus.queue("billing").base + "wait", late["id"])
    await bus.redis.zadd(bus.queue("billing").marker, {"0": 0})
    await bus.settled("billing", completed=2)
    assert (await bus.job("billing", late["id"]))["returnvalue"] == {"expired": "2026-01-02T03:04:06.000Z"}
    working.send_signal(signal.SIGTERM)
    assert await working.wait() == 0
