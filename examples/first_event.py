import asyncio
from decimal import Decimal

from hippo_messenger import HippoBroker, HippoEvent, HippoJob, HippoMessenger, HippoService, HippoWorker, OrderSuccess

REDIS = "embedded"  # or a URL, such as redis://localhost:6379


async def main() -> None:
    shipped = asyncio.Event()
    order = HippoMessenger(service_name=HippoService.ORDER, redis_connection=REDIS)
    shipping = HippoMessenger(
        service_name=HippoService.SHIPPING, listens_to=[HippoEvent.ORDER_SUCCESS], redis_connection=REDIS
    )
    worker = HippoWorker(messenger=shipping)

    @worker.on(OrderSuccess)
    async def ship(job: HippoJob[OrderSuccess]) -> None:
        print(f"shipping {job.data.order_id} for {job.data.total}, said {job.origin}")
        shipped.set()

    async with HippoBroker(redis_connection=REDIS), order, shipping, worker:
        await shipping.register(wait=True)
        await order.send(OrderSuccess(order_id="A-1", total=Decimal("12.30")))
        await shipped.wait()


asyncio.run(main())
