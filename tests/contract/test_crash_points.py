"""Every promise at each point where somebody can die: right before a script is called, and right after it has run."""

from __future__ import annotations

import asyncio
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
import redis.asyncio

from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService, OrderSuccess
from hippo_messenger.catalogue.model import EventData
from hippo_messenger.errors import PossiblySentError
from hippo_messenger.job import HippoJob
from hippo_messenger.messenger import HippoMessenger
from hippo_messenger.testing import System, eventually

pytestmark = pytest.mark.chaos

EVENTS = 40
SLOTS = 5
LISTENERS = (HippoService.ACCOUNT, HippoService.SHIPPING)


class Counting:
    """A processor that counts what it did."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()

    async def __call__(self, job: HippoJob[EventData]) -> None:
        await asyncio.sleep(0.005)
        self.done[job.id] += 1

    async def did(self, event_ids: list[str]) -> None:
        async def check() -> None:
            assert self.done.keys() == set(event_ids)

        await eventually(check, timeout=20)


async def send(sender: HippoMessenger, count: int = EVENTS) -> list[str]:
    orders = [OrderSuccess(order_id=str(number), total=Decimal(1)) for number in range(count)]
    return await sender.send_many(orders)


@pytest.mark.parametrize("script", ["take", "route"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_wherever_a_broker_dies_each_service_ends_with_one_job_for_each_event(
    hippo: System, when: str, script: str
) -> None:
    await hippo.broker()
    for service in LISTENERS:
        await hippo.messenger(service, HippoEvent.ORDER_SUCCESS)
    sender = await hippo.messenger(HippoService.ORDER)
    crash = hippo.crash("broker", at=f"{when} {script}")
    event_ids = await send(sender)
    await crash.happened()

    await hippo.broker()

    client: Any
    async with redis.asyncio.Redis.from_url(hippo.redis_url) as client:

        async def delivered() -> None:
            for service in LISTENERS:
                line = await client.lrange(f"{hippo.settings.prefix}:{service.value}:wait", 0, -1)
                assert sorted(job_id.decode() for job_id in line) == sorted(event_ids)

        await eventually(delivered, timeout=20)


@pytest.mark.parametrize("script", ["take", "settle"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_wherever_a_worker_dies_its_jobs_run_elsewhere_and_no_more_twice_than_it_had_in_hand(
    hippo: System, when: str, script: str
) -> None:
    await hippo.broker()
    processor = Counting()
    first = await hippo.messenger(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    await hippo.worker(first, processor, concurrency=SLOTS)
    crash = hippo.crash("account", at=f"{when} {script}")
    event_ids = await send(await hippo.messenger(HippoService.ORDER))
    await crash.happened()

    second = await hippo.messenger(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    await hippo.worker(second, processor, concurrency=SLOTS)

    await processor.did(event_ids)
    assert sum(processor.done.values()) - EVENTS <= SLOTS


@pytest.mark.parametrize("when", ["before", "after"])
async def test_wherever_a_sender_dies_its_event_can_be_sent_again_and_is_delivered_once(
    hippo: System, when: str
) -> None:
    await hippo.broker()
    processor = Counting()
    account = await hippo.messenger(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    await hippo.worker(account, processor)
    sender = await hippo.messenger(HippoService.ORDER)
    crash = hippo.crash("order", at=f"{when} publish")
    order = OrderSuccess(order_id="1", total=Decimal(1))
    with pytest.raises(PossiblySentError) as raised:
        await sender.send(order)
    await crash.happened()

    (event_id,) = raised.value.event_ids
    again = await hippo.messenger(HippoService.ORDER)
    assert await again.send(order, event_id=event_id) == event_id
    following = await send(again, 1)

    await processor.did([event_id, *following])
    assert set(processor.done.values()) == {1}
