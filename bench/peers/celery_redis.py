"""Celery on Redis."""

# Celery has no publish and subscribe: the sender sends one task to the queue of each service, on one connection, since
# there is no call for many. acks_late, no results; the solo pool, which was faster than its threads and processes.

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from celery import Celery
from celery.signals import worker_ready

from bench.peers.order import Order
from bench.peers.part import Part, Tally, deliver, say

TASK = "order_success"


def application(part: Part) -> Celery:
    app = Celery("bench", broker=part.url)
    app.conf.update(
        task_acks_late=True,
        task_ignore_result=True,
        worker_prefetch_multiplier=part.concurrency,
        worker_redirect_stdouts=False,  # what it says goes to the benchmark, not into its log
    )
    return app


async def sender(part: Part) -> None:
    app = application(part)
    with app.producer_or_acquire() as producer:

        async def send(orders: Sequence[Order]) -> None:
            for order in orders:
                data = order.model_dump(mode="json")
                for name in part.services:
                    app.send_task(TASK, (data,), queue=name, producer=producer)

        await deliver(part, send)


def service(part: Part) -> None:
    app, tally = application(part), Tally(part.laps)

    @app.task(name=TASK)
    def process(data: dict[str, object]) -> None:
        tally.count(Order.model_validate(data))

    @worker_ready.connect(weak=False)
    def ready(**_: object) -> None:
        say({"ready": True})

    alone = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    app.worker_main(["--quiet", "worker", "--pool=solo", "--loglevel=error", "--queues", part.name, *alone])


if __name__ == "__main__":
    told = Part.told()
    if told.role == "sender":
        asyncio.run(sender(told))
    else:
        service(told)
