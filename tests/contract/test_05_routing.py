"""Promise 5: routing is one atomic step; whatever breaks, each listener ends with one job per event."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from decimal import Decimal

import bullmq
import pytest
import redis.asyncio

from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService, OrderSuccess
from hippo_messenger.retry import RetryPolicy
from hippo_messenger.testing import Proxy, eventually
from tests.contract.bus import Bus, Recorder

LISTENERS = (HippoService.ACCOUNT, HippoService.BILLING, HippoService.SHIPPING)
STRUCTURE = ("wait", "active", "prioritized", "delayed", "completed", "failed", "events", "marker", "meta", "id", "pc")


def orders(count: int) -> list[OrderSuccess]:
    return [OrderSuccess(order_id=f"A-{number}", total=Decimal(number)) for number in range(count)]


async def register_listeners(bus: Bus) -> None:
    for service in LISTENERS:
        await bus.listener(service, HippoEvent.ORDER_SUCCESS)


@pytest.mark.chaos
async def test_a_broker_killed_in_the_middle_of_2000_events_loses_and_doubles_nothing(bus: Bus) -> None:
    starter = await bus.broker()
    await register_listeners(bus)
    await starter.stop()
    ids = await bus.messenger(HippoService.ORDER).send_many(orders(2000))

    for killed_at in (200, 900, 1500):
        broker = await start_broker_process(bus)

        async def routed(count: int = killed_at) -> None:
            assert await bus.count("account", "wait") >= count

        await eventually(routed, interval=0.001)
        os.kill(broker.pid, signal.SIGKILL)
        await broker.wait()
    await bus.broker()

    for service in LISTENERS:
        await bus.settled(service, wait=2000)
        assert await bus.job_ids(service) == sorted(ids)


async def start_broker_process(bus: Bus) -> asyncio.subprocess.Process:
    variables = {f"HIPPO_{name.upper()}": str(value) for name, value in bus.settings.model_dump().items()}
    program = "import asyncio; from hippo_messenger.broker import HippoBroker; asyncio.run(HippoBroker().run())"
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        env={**os.environ, **variables, "HIPPO_REDIS_URL": bus.url, "HIPPO_BROKER_BATCH": "20"},
    )


@pytest.mark.chaos
async def test_several_brokers_share_the_work(bus: Bus) -> None:
    brokers = [await bus.broker() for _ in range(3)]
    await register_listeners(bus)

    ids = await bus.messenger(HippoService.ORDER).send_many(orders(1000))

    for service in LISTENERS:
        await bus.settled(service, wait=1000)
        assert await bus.job_ids(service) == sorted(ids)
    assert len(brokers) == 3


@pytest.mark.chaos
@pytest.mark.parametrize("key", STRUCTURE)
async def test_a_service_queue_that_cannot_be_written_makes_nobody_else_wait(bus: Bus, key: str) -> None:
    await bus.broker()
    await register_listeners(bus)
    broken = bus.queue("billing").base + key
    await bus.redis.delete(broken)
    await (bus.redis.set(broken, "x") if key not in ("id", "pc") else bus.redis.lpush(broken, "x"))

    [event_id] = await bus.messenger(HippoService.ORDER).send_many(orders(1))

    for service in ("account", "shipping"):
        await bus.settled(service, wait=1)
    [parked] = await bus.failed("broker")
    assert parked["id"] == f"parked-billing-{event_id}"
    assert f"not delivered to billing: {broken} holds a" in parked["failedReason"]
    assert (await bus.job("broker", event_id))["returnvalue"] == {
        "deliveredTo": ["account", "shipping"],
        "parkedFor": ["billing"],
    }

    await bus.redis.delete(broken)
    await redrive(bus, "broker", parked["id"])

    await bus.settled("billing", wait=1)
    assert await bus.job_ids("billing") == [event_id]
    assert await bus.counts("account") == {"wait": 1}
    assert await bus.count("broker", "failed") == 0


async def redrive(bus: Bus, queue: str, job_id: str) -> None:
    """As BullMQ's reprocessJob, through the official package."""
    client = redis.asyncio.Redis.from_url(bus.url, decode_responses=True)
    stock = bullmq.Queue(queue, {"connection": client, "prefix": bus.settings.prefix})
    job = await stock.getJob(job_id)
    assert job is not None
    await job.retry()
    await stock.close()


@pytest.mark.chaos
async def test_a_job_hash_that_somebody_deleted_or_replaced_costs_that_job_alone(bus: Bus) -> None:
    starter = await bus.broker()
    await register_listeners(bus)
    await starter.stop()
    ids = await bus.messenger(HippoService.ORDER).send_many(orders(10))
    await bus.redis.delete(bus.queue("broker").job(ids[2]))
    await bus.redis.delete(bus.queue("broker").job(ids[5]))
    await bus.redis.lpush(bus.queue("broker").job(ids[5]), "not a job")

    await bus.broker()

    expected = sorted(event_id for event_id in ids if event_id not in (ids[2], ids[5]))
    for service in LISTENERS:
        await bus.settled(service, wait=8)
        assert await bus.job_ids(service) == expected


@pytest.mark.chaos
async def test_a_copy_whose_place_is_taken_is_parked_alone(bus: Bus) -> None:
    await bus.broker()
    await register_listeners(bus)
    await bus.redis.set(bus.queue("billing").job("an-id-whose-place-is-taken"), "x")

    sender = bus.messenger(HippoService.ORDER)
    await sender.send(orders(1)[0], event_id="an-id-whose-place-is-taken")
    await sender.send_many(orders(3))

    await bus.settled("account", wait=4)
    await bus.settled("billing", wait=3)
    [parked] = await bus.failed("broker")
    assert "expected a hash" in parked["failedReason"]


@pytest.mark.chaos
async def test_a_reply_dropped_on_each_call_of_the_broker_harms_nothing(bus: Bus, proxy: Proxy) -> None:
    starter = await bus.broker()
    await register_listeners(bus)
    await starter.stop()
    sender = bus.messenger(HippoService.ORDER)
    ids = await sender.send_many(orders(60))

    settings = bus.settings.model_copy(update={"broker_batch": 5, "call_timeout": 1.0})
    await bus.broker(url=proxy.url, settings=settings)
    for number in range(6):
        proxy.drop_replies(1)
        ids += await sender.send_many(orders(5 + number))

    for service in LISTENERS:
        await bus.settled(service, wait=len(ids))
        assert await bus.job_ids(service) == sorted(ids)
    assert await bus.count("broker", "active") == 0


async def test_an_event_is_finished_and_delivered_in_the_same_step(bus: Bus) -> None:
    await bus.broker()
    await register_listeners(bus)

    [event_id] = await bus.messenger(HippoService.ORDER).send_many(orders(1))
    await bus.settled("account", wait=1)

    job = await bus.job("broker", event_id)
    assert job["returnvalue"] == {"deliveredTo": ["account", "billing", "shipping"]}
    assert int(job["finishedOn"]) == int((await bus.job("account", event_id))["timestamp"])
    assert await bus.counts("broker") == {"completed": 4}


async def test_copies_are_handled_as_the_receiving_service_asked(bus: Bus) -> None:
    await bus.broker()
    await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS, retry=RetryPolicy(attempts=9, delay=0.5))
    recorder = Recorder()

    [event_id] = await bus.messenger(HippoService.ORDER, retry=RetryPolicy(attempts=1)).send_many(orders(1))

    await bus.settled("account", wait=1)
    options = (await bus.job("account", event_id))["opts"]
    assert options["attempts"] == 9
    assert options["backoff"] == {"type": "exponential", "delay": 500, "jitter": 1.0}
    assert json.dumps(options["removeOnComplete"]) == '{"age": 3600, "count": 1000}'
    assert recorder.jobs == []
