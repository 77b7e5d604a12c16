"""taskiq on Redis Streams."""

# One stream, a consumer group for each service, so that one task reaches them all; acknowledged after execution. The
# sender has some calls at a time: there is no call for many. Nothing trims the stream, so no service can miss a task.

from __future__ import annotations

from collections.abc import Sequence

import uvloop
from taskiq import AcknowledgeType
from taskiq.api import run_receiver_task
from taskiq_redis import RedisStreamBroker

from bench.peers.order import Order
from bench.peers.part import Part, Tally, at_once, deliver, say

TASK = "order_success"


async def sender(part: Part) -> None:
    broker = RedisStreamBroker(part.url, queue_name="orders", max_connection_pool_size=part.concurrency)

    @broker.task(task_name=TASK)
    async def process(order: Order) -> None:
        """The services' part."""

    async def send(orders: Sequence[Order]) -> None:
        await at_once((process.kiq(order) for order in orders), limit=part.concurrency)

    await broker.startup()
    await deliver(part, send)


async def service(part: Part) -> None:
    broker, tally = RedisStreamBroker(part.url, queue_name="orders", consumer_group_name=part.name), Tally(part.laps)

    @broker.task(task_name=TASK)
    async def process(order: Order) -> None:
        tally.count(order)

    await broker.startup()
    say({"ready": True})
    await run_receiver_task(broker, max_async_tasks=part.concurrency, ack_time=AcknowledgeType.WHEN_EXECUTED)


if __name__ == "__main__":
    told = Part.told()
    uvloop.run({"sender": sender, "service": service}[told.role](told))
