"""An event for later, one for a while only, and events that overtake others."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from hippo_messenger import (
    EmbeddedServer,
    HippoBroker,
    HippoEvent,
    HippoJob,
    HippoMessenger,
    HippoService,
    HippoWorker,
    Observer,
    OrderSuccess,
)


class Routed(Observer):
    """Counts what the broker has routed."""

    def __init__(self) -> None:
        self.events = asyncio.Semaphore(0)

    def routed(self, event_type: str, *, origin: str, services: tuple[str, ...]) -> None:
        self.events.release()


def order(order_id: str) -> OrderSuccess:
    return OrderSuccess(order_id=order_id, total=Decimal(1))


async def show(redis: str) -> None:
    shipped: asyncio.Queue[str] = asyncio.Queue()
    routed = Routed()
    shop = HippoMessenger(service_name=HippoService.ORDER, redis_connection=redis)
    shipping = HippoMessenger(
        service_name=HippoService.SHIPPING, listens_to=[HippoEvent.ORDER_SUCCESS], redis_connection=redis
    )
    worker = HippoWorker(messenger=shipping, concurrency=1)

    @worker.on(OrderSuccess)
    async def ship(job: HippoJob[OrderSuccess]) -> None:
        await shipped.put(job.data.order_id)

    async with HippoBroker(redis_connection=redis, observer=routed), shop, shipping:
        await shipping.register(wait=True)
        await shop.send(order("later"), delay=3)
        await shop.send(order("priority 10"), priority=10)
        await shop.send(order("priority 1"), priority=1)
        await shop.send(order("no priority"))
        await shop.send(order("for a minute"), expires=60)
        for _ in range(4):
            await routed.events.acquire()
        # Four copies wait in the queue of shipping; the one for later waits at the broker.
        async with worker:
            for _ in range(5):
                print(await shipped.get())


async def main() -> None:
    async with EmbeddedServer.private() as server:
        await show(server.url)


if __name__ == "__main__":
    asyncio.run(main())
