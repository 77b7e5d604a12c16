"""SAQ on Redis."""

# SAQ has no publish and subscribe: the sender puts one job into the queue of each service, some calls at a time, since
# there is no call for many. A job leaves its queue once processed; nothing is kept of it (ttl -1).

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import uvloop
from saq import Queue, Worker

from bench.peers.order import Order
from bench.peers.part import Part, Tally, at_once, deliver, say

JOB = "order_success"


async def sender(part: Part) -> None:
    queues = [Queue.from_url(part.url, name=name) for name in part.services]

    async def send(orders: Sequence[Order]) -> None:
        made = [order.model_dump(mode="json") for order in orders]
        calls = (queue.enqueue(JOB, data=data, ttl=-1) for data in made for queue in queues)
        await at_once(calls, limit=part.concurrency)

    for queue in queues:
        await queue.connect()
    await deliver(part, send)


async def service(part: Part) -> None:
    queue, tally = Queue.from_url(part.url, name=part.name), Tally(part.laps)

    async def process(_: Any, *, data: dict[str, object]) -> None:
        tally.count(Order.model_validate(data))

    async def ready(_: Any) -> None:
        say({"ready": True})

    await queue.connect()
    await Worker(queue, functions=[(JOB, process)], concurrency=part.concurrency, startup=ready).start()


if __name__ == "__main__":
    told = Part.told()
    uvloop.run({"sender": sender, "service": service}[told.role](told))
