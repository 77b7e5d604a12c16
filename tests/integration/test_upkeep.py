"""Locks are renewed for who holds them: a job by its id and the token of its take."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from hippo_messenger.catalogue.golden_hippo import HippoService, OrderSuccess
from hippo_messenger.observer import Observer
from hippo_messenger.queues.call import Caller
from hippo_messenger.queues.delivery import Order
from hippo_messenger.queues.queue import Queue
from hippo_messenger.queues.upkeep import Upkeep
from hippo_messenger.testing import eventually
from tests.contract.bus import Bus

LOCK = 1.0


async def test_of_two_takes_of_one_job_the_one_that_lost_its_lock_is_let_go_alone(bus: Bus) -> None:
    """A worker may take anew what it has lost, and would let its good lock run out."""
    lost: list[str] = []

    class Watcher(Observer):
        def lock_lost(self, job_id: str, *, queue: str) -> None:
            lost.append(job_id)

    messenger = bus.messenger(HippoService.ACCOUNT)
    event_id = await messenger.send(OrderSuccess(order_id="A-1", total=Decimal(1)), notify_self=True)
    keys = bus.queue("account")
    queue = Queue(messenger.connection, keys, caller=Caller(messenger.connection, observer=Observer()))
    upkeep = Upkeep(queue, lock=LOCK, check=60, max_stalls=1, observer=Watcher())
    first = await queue.take(Order(1, lock=LOCK))
    upkeep.hold(first)
    await bus.redis.delete(keys.job(event_id) + ":lock")
    await bus.redis.lmove(keys.base + "active", keys.base + "wait", "RIGHT", "RIGHT")
    second = await queue.take(Order(1, lock=LOCK))
    upkeep.hold(second)
    assert [job.id for job in first.jobs + second.jobs] == [event_id] * 2

    renewing = asyncio.create_task(upkeep.renew())
    await eventually(lambda: _are(upkeep, count=1))
    renewing.cancel()

    assert upkeep.held == second.jobs
    assert lost == [event_id]


async def _are(upkeep: Upkeep, *, count: int) -> bool:
    return len(upkeep.held) == count
