"""Dramatiq on Redis."""

# Dramatiq has no publish and subscribe: the sender sends one message to the queue of each service, one call each, since
# there is no call for many. It acknowledges after processing; its worker is threads, and 50 did no worse than its 8.

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from bench.peers.order import Order
from bench.peers.part import Part, Tally, deliver, say

ACTOR = "order_success"


async def sender(part: Part) -> None:
    broker = RedisBroker(url=part.url)
    for name in part.services:
        broker.declare_queue(name)

    async def send(orders: Sequence[Order]) -> None:
        for order in orders:
            data = order.model_dump(mode="json")
            for name in part.services:
                broker.enqueue(dramatiq.Message(queue_name=name, actor_name=ACTOR, args=(data,), kwargs={}, options={}))

    await deliver(part, send)


def service(part: Part) -> None:
    broker, tally = RedisBroker(url=part.url), Tally(part.laps)
    dramatiq.set_broker(broker)

    @dramatiq.actor(actor_name=ACTOR, queue_name=part.name)
    def process(data: dict[str, object]) -> None:
        tally.count(Order.model_validate(data))

    dramatiq.Worker(broker, worker_threads=part.concurrency).start()
    say({"ready": True})
    signal.pause()


if __name__ == "__main__":
    told = Part.told()
    if told.role == "sender":
        asyncio.run(sender(told))
    else:
        service(told)
