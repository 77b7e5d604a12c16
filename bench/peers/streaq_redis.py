"""streaq on Redis."""

# streaq has no publish and subscribe: the sender puts one task into the queue of each service, 200 of a queue in one
# pipeline. A task is acknowledged after processing; no result is kept (ttl 0).

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

import uvloop
from anyio import create_task_group
from streaq import Worker

from bench.peers.order import Order
from bench.peers.part import Part, Tally, deliver, say

TASK = "order_success"


async def sender(part: Part) -> None:
    queues = [Worker(part.url, queue_name=name) for name in part.services]

    async def send(orders: Sequence[Order]) -> None:
        made = [order.model_dump(mode="json") for order in orders]
        tasks = ((queue, [queue.enqueue_unsafe(TASK, data) for data in made]) for queue in queues)
        await asyncio.gather(*(queue.enqueue_many(some) for queue, some in tasks))

    async with AsyncExitStack() as stack:
        for queue in queues:
            await stack.enter_async_context(queue)
        await deliver(part, send)


async def service(part: Part) -> None:
    queue, tally = Worker(part.url, queue_name=part.name, concurrency=part.concurrency), Tally(part.laps)

    @queue.task(name=TASK, ttl=0, silent=True)
    async def process(data: dict[str, object]) -> None:
        tally.count(Order.model_validate(data))

    async with create_task_group() as group:
        await group.start(queue.run_async)
        say({"ready": True})


if __name__ == "__main__":
    told = Part.told()
    uvloop.run({"sender": sender, "service": service}[told.role](told))
