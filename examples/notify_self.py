"""A service that wants to hear of its own events: `notify_self`, and `match` over what comes in."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from hippo_messenger import (
    ConfigChange,
    EventData,
    HippoBroker,
    HippoEvent,
    HippoJob,
    HippoMessenger,
    HippoService,
    HippoWorker,
    OrderSuccess,
)

REDIS = "embedded"


async def main() -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()

    async def process(job: HippoJob[EventData]) -> None:
        match job.data:
            case OrderSuccess(order_id=order_id, total=total):
                await heard.put(f"order {order_id}: {total}")
            case ConfigChange(key=key, value=value):
                await heard.put(f"{key} = {value}")
            case _:
                await heard.put(f"something else: {job.job_type}")

    order = HippoMessenger(
        service_name=HippoService.ORDER, listens_to=[HippoEvent.CONFIG_CHANGE], redis_connection=REDIS
    )
    config = HippoMessenger(service_name=HippoService.CONFIG, redis_connection=REDIS)
    async with HippoBroker(redis_connection=REDIS), order, config, HippoWorker(messenger=order, processor=process):
        await order.register(wait=True)
        await config.send(ConfigChange(key="vat", value=7))
        await order.send(OrderSuccess(order_id="A-2", total=Decimal(5)), notify_self=True)
        for _ in range(2):
            print(await heard.get())


asyncio.run(main())
