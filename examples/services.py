"""A service says which events it wants, and later changes its mind."""

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
    OrderCancelled,
    OrderSuccess,
)

EVENTS = [OrderSuccess(order_id="A-1", total=Decimal("12.30")), OrderCancelled(order_id="A-2")]


async def show(redis: str) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()

    async def process(job: HippoJob[EventData]) -> None:
        await heard.put(f"account hears {job.job_type} from {job.origin}")

    account = HippoMessenger(
        service_name=HippoService.ACCOUNT, listens_to=[HippoEvent.ORDER_SUCCESS], redis_connection=redis
    )
    order = HippoMessenger(service_name=HippoService.ORDER, redis_connection=redis)  # it only sends

    async with HippoBroker(redis_connection=redis), account, order, HippoWorker(messenger=account, processor=process):
        await account.register(wait=True)
        await order.send_many(EVENTS)
        print(await heard.get())

        account.set_listeners([HippoEvent.ORDER_CANCELLED])
        await account.register(wait=True)
        await order.send_many(EVENTS)
        print(await heard.get())

    print(f"nothing more: {heard.empty()}")


async def main() -> None:
    async with EmbeddedServer.private() as server:
        await show(server.url)


if __name__ == "__main__":
    asyncio.run(main())
