"""Every promise at once: Redis itself is killed under load and comes back, and the count is right."""

from __future__ import annotations

import asyncio
from collections import Counter
from decimal import Decimal

import pytest

from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService, OrderSuccess
from hippo_messenger.catalogue.model import EventData
from hippo_messenger.errors import SendError
from hippo_messenger.job import HippoJob
from hippo_messenger.messenger import HippoMessenger
from hippo_messenger.testing import eventually
from tests.contract.bus import Bus
from tests.contract.outages import MortalServer

EVENTS = 1500


async def send_until_accepted(sender: HippoMessenger, number: int) -> str:
    """As a careful user does: again, under the same id, for as long as it takes."""
    event_id = f"event-of-the-outage-{number}"
    while True:
        try:
            return await sender.send(OrderSuccess(order_id=str(number), total=Decimal(1)), event_id=event_id)
        except SendError:
            continue


@pytest.mark.chaos
async def test_redis_killed_under_load_loses_nothing_that_was_accepted(
    mortal_server: MortalServer, mortal_bus: Bus
) -> None:
    server, bus = mortal_server, mortal_bus
    processed: Counter[str] = Counter()

    async def process(job: HippoJob[EventData]) -> None:
        await asyncio.sleep(0.002)
        processed[job.id] += 1

    await server.start()
    for _ in range(2):
        await bus.broker()
    account = await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    for _ in range(2):
        await bus.worker(account, process)
    sender = bus.messenger(HippoService.ORDER)

    sending: list[asyncio.Task[str]] = []
    for part in range(3):
        numbers = range(part * EVENTS // 3, (part + 1) * EVENTS // 3)
        sending += [asyncio.create_task(send_until_accepted(sender, number)) for number in numbers]
        before = len(processed)

        async def under_way(before: int = before) -> None:
            assert len(processed) > before

        await eventually(under_way)
        await server.kill()
        await server.start()
    ids = await asyncio.gather(*sending)

    async def all_processed() -> None:
        assert set(processed) == set(ids)
        assert await bus.counts("broker") == {"completed": await bus.count("broker", "completed")}

    await eventually(all_processed, timeout=30)
    assert len(set(ids)) == EVENTS
    # A job that ran while Redis was away may run again; the router's copies are one each all the same.
    assert not await bus.failed("account")
