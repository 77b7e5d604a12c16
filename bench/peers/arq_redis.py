"""arq on Redis."""

# arq has no publish and subscribe: the sender puts one job into the queue of each service, some calls at a time, since
# there is no call for many. A job leaves its queue once processed; no result is kept. A worker looks for jobs every
# 10 ms: at arq's half a second that pause alone would decide its figures.

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import uvloop
from arq import Worker, create_pool, func
from arq.connections import RedisSettings

from bench.peers.order import Order
from bench.peers.part import Part, Tally, at_once, deliver, say

JOB = "order_success"


async def sender(part: Part) -> None:
    redis = await create_pool(RedisSettings.from_dsn(part.url))

    async def send(orders: Sequence[Order]) -> None:
        made = [order.model_dump(mode="json") for order in orders]
        calls = (redis.enqueue_job(JOB, data, _queue_name=name) for data in made for name in part.services)
        await at_once(calls, limit=part.concurrency)

    await deliver(part, send)


async def service(part: Part) -> None:
    tally = Tally(part.laps)

    async def process(_: Any, data: dict[str, object]) -> None:
        tally.count(Order.model_validate(data))

    async def ready(_: Any) -> None:
        say({"ready": True})

    worker = Worker(
        [func(process, name=JOB)],
        queue_name=part.name,
        redis_settings=RedisSettings.from_dsn(part.url),
        max_jobs=part.concurrency,
        keep_result=0,
        poll_delay=0.01,
        on_startup=ready,
        log_results=False,
    )
    await worker.async_run()


if __name__ == "__main__":
    told = Part.told()
    uvloop.run({"sender": sender, "service": service}[told.role](told))
