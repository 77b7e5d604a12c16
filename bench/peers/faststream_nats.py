"""FastStream on NATS JetStream."""

# One stream in files, a durable consumer for each service that acknowledges each message once processed, one after the
# other: with workers beside each other it was half as fast, and slower where a message goes once all have it. The
# sender awaits acknowledgements of 200 events together.

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import uvloop
from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker, PullSub
from nats.js.api import RetentionPolicy, StorageType

from bench.peers.order import Order
from bench.peers.part import Part, Tally, deliver, say

SUBJECT = "orders"
BATCH = 200
"""Messages a pull."""


def stream() -> JStream:
    return JStream("orders", subjects=[SUBJECT], storage=StorageType.FILE, retention=RetentionPolicy.LIMITS)


async def sender(part: Part) -> None:
    async with NatsBroker(part.url, logger=None) as broker:
        await broker.start()

        async def send(orders: Sequence[Order]) -> None:
            await asyncio.gather(*(broker.publish(order, SUBJECT, stream="orders") for order in orders))

        await deliver(part, send)


async def service(part: Part) -> None:
    broker, tally = NatsBroker(part.url, logger=None), Tally(part.laps)

    @broker.subscriber(
        SUBJECT,
        stream=stream(),
        durable=part.name,
        pull_sub=PullSub(batch_size=BATCH),
        ack_policy=AckPolicy.NACK_ON_ERROR,
    )
    async def process(order: Order) -> None:
        tally.count(order)

    async with broker:
        await broker.start()
        say({"ready": True})
        await asyncio.Event().wait()


if __name__ == "__main__":
    told = Part.told()
    uvloop.run({"sender": sender, "service": service}[told.role](told))
