"""FastStream on Redis Streams."""

# One stream, a consumer group for each service: Redis' own publish and subscribe. Each entry is acknowledged by itself
# once processed (a batch would be as a whole), one after the other: with workers beside each other it was slower. The
# sender's 200 go in one pipeline. Nothing trims the stream, so no service can miss an entry.

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import uvloop
from faststream import AckPolicy
from faststream.redis import RedisBroker, StreamSub

from bench.peers.order import Order
from bench.peers.part import Part, Tally, deliver, say

STREAM = "orders"
BATCH = 200
"""Entries a read."""


async def sender(part: Part) -> None:
    async with RedisBroker(part.url, logger=None) as broker:
        client = await broker.connect()

        async def send(orders: Sequence[Order]) -> None:
            async with client.pipeline(transaction=False) as pipeline:
                for order in orders:
                    await broker.publish(order, stream=STREAM, pipeline=pipeline)
                await pipeline.execute()

        await deliver(part, send)


async def service(part: Part) -> None:
    broker, tally = RedisBroker(part.url, logger=None), Tally(part.laps)
    group = StreamSub(STREAM, group=part.name, consumer="worker", max_records=BATCH)

    @broker.subscriber(stream=group, ack_policy=AckPolicy.NACK_ON_ERROR)
    async def process(order: Order) -> None:
        tally.count(order)

    async with broker:
        await broker.start()
        say({"ready": True})
        await asyncio.Event().wait()


if __name__ == "__main__":
    told = Part.told()
    uvloop.run({"sender": sender, "service": service}[told.role](told))
