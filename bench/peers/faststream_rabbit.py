"""FastStream on RabbitMQ."""

# A fanout exchange, a durable classic queue for each service, persistent messages. The sender has publisher confirms
# and awaits those of 200 events together; a service has as many unacknowledged messages as it has places.

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import uvloop
from faststream import AckPolicy
from faststream.rabbit import Channel, ExchangeType, RabbitBroker, RabbitExchange, RabbitQueue

from bench.peers.order import Order
from bench.peers.part import Part, Tally, deliver, say

EXCHANGE = RabbitExchange("orders", type=ExchangeType.FANOUT, durable=True)


async def sender(part: Part) -> None:
    async with RabbitBroker(part.url, logger=None) as broker:
        await broker.declare_exchange(EXCHANGE)

        async def send(orders: Sequence[Order]) -> None:
            await asyncio.gather(*(broker.publish(order, exchange=EXCHANGE, persist=True) for order in orders))

        await deliver(part, send)


async def service(part: Part) -> None:
    channel = Channel(prefetch_count=part.concurrency)
    broker, tally = RabbitBroker(part.url, logger=None, default_channel=channel), Tally(part.laps)
    queue = RabbitQueue(part.name, durable=True)

    @broker.subscriber(queue, EXCHANGE, ack_policy=AckPolicy.NACK_ON_ERROR)
    async def process(order: Order) -> None:
        tally.count(order)

    async with broker:
        await broker.start()
        say({"ready": True})
        await asyncio.Event().wait()


if __name__ == "__main__":
    told = Part.told()
    uvloop.run({"sender": sender, "service": service}[told.role](told))
