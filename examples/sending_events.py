"""Ways to send: a model, a mapping, many at once, under an id of one's own, with a field that nobody knows yet."""

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


async def send_all(order: HippoMessenger) -> None:
    # A model: the type checker knows its fields.
    event_id = await order.send(OrderSuccess(order_id="A-1", total=Decimal("12.30")))
    print(f"an event id has {len(event_id)} characters")

    # A mapping and its type: for data that comes from elsewhere. Python names and wire names are both taken.
    await order.send(event_type=HippoEvent.ORDER_SUCCESS, data={"orderId": "A-2", "total": "5", "giftWrap": True})

    # Many: all are checked before one is sent.
    await order.send_many([OrderCancelled(order_id="A-3"), OrderCancelled(order_id="A-4")])

    # Under an id that will be the same when this code runs again.
    for _ in range(2):
        await order.send(OrderCancelled(order_id="A-5"), event_id="order-A-5-cancelled")


async def show(redis: str) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()

    async def process(job: HippoJob[EventData]) -> None:
        match job.data:
            case OrderSuccess(order_id=order_id, total=total):
                await heard.put(f"{order_id} for {total}, unknown to us: {job.data.model_extra}")
            case OrderCancelled(order_id=order_id):
                await heard.put(f"{order_id} is cancelled")
            case _:
                raise TypeError(job.job_type)

    order = HippoMessenger(service_name=HippoService.ORDER, redis_connection=redis)
    account = HippoMessenger(
        service_name=HippoService.ACCOUNT,
        listens_to=[HippoEvent.ORDER_SUCCESS, HippoEvent.ORDER_CANCELLED],
        redis_connection=redis,
    )
    async with HippoBroker(redis_connection=redis), order, account, HippoWorker(messenger=account, processor=process):
        await account.register(wait=True)
        await send_all(order)
        for line in sorted([await heard.get() for _ in range(5)]):
            print(line)
        print(f"six were sent, one of them twice under one id; more came: {not heard.empty()}")


async def main() -> None:
    async with EmbeddedServer.private() as server:
        await show(server.url)


if __name__ == "__main__":
    asyncio.run(main())
