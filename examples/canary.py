"""A new version beside the old one, which takes no job until it is told to."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from hippo_messenger import (
    EmbeddedServer,
    EventData,
    HippoBroker,
    HippoEvent,
    HippoJob,
    HippoMessenger,
    HippoService,
    HippoWorker,
    OrderSuccess,
    PaymentSucceeded,
)


def make_worker(version: str, redis: str, done: asyncio.Queue[str], *, enable_workers: bool) -> HippoWorker:
    """The same code in every process; what differs is a switch that the deployment sets."""
    billing = HippoMessenger(
        service_name=HippoService.BILLING,
        listens_to=[HippoEvent.ORDER_SUCCESS],
        redis_connection=redis,
        enable_workers=enable_workers,
    )

    async def process(job: HippoJob[EventData]) -> None:
        await done.put(f"{version} has processed {job.job_type}")

    return HippoWorker(messenger=billing, processor=process)


async def show(redis: str) -> None:
    done: asyncio.Queue[str] = asyncio.Queue()
    order = OrderSuccess(order_id="A-1", total=Decimal("12.30"))
    old = make_worker("the old version", redis, done, enable_workers=True)
    canary = make_worker("the canary", redis, done, enable_workers=False)
    new = make_worker("the new version", redis, done, enable_workers=True)

    async with (
        HippoBroker(redis_connection=redis),
        HippoMessenger(service_name=HippoService.ORDER, redis_connection=redis) as shop,
        old.messenger,
        canary.messenger,
        new.messenger,
    ):
        async with old, canary:
            await old.messenger.register(wait=True)
            await shop.send_many([order] * 10)
            print({await done.get() for _ in range(10)})

            # A canary does everything but consume.
            await canary.messenger.send(PaymentSucceeded(payment_id="P-1", amount=Decimal("12.30")))
            print("the canary has sent an event")

        async with new:  # the old version has put back what it had not begun
            await shop.send(order)
            print(await done.get())


async def main() -> None:
    async with EmbeddedServer.private() as server:
        await show(server.url)


if __name__ == "__main__":
    asyncio.run(main())
