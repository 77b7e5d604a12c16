"""A processor that fails: what is tried again, what becomes a dead letter, and what is let go."""

from __future__ import annotations

import asyncio
from collections import Counter
from decimal import Decimal

from hippo_messenger import (
    DeadLetter,
    Discard,
    EmbeddedServer,
    HippoBroker,
    HippoEvent,
    HippoJob,
    HippoMessenger,
    HippoService,
    HippoWorker,
    Observer,
    OrderSuccess,
    RetryPolicy,
)


class Outcomes(Observer):
    """Counts what became of the jobs of this process."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.ended = asyncio.Semaphore(0)

    def settled(self, event_type: str, *, queue: str, outcome: str) -> None:
        self.counts[outcome] += 1
        if outcome in ("completed", "failed"):
            self.ended.release()


async def bill(job: HippoJob[OrderSuccess]) -> dict[str, str]:
    order = job.data
    print(f"{order.order_id}: attempt {job.attempt}")
    match order.order_id:
        case "flaky" if job.attempt < 3:
            raise ConnectionError("the bank does not answer")  # tried again
        case "broken":
            raise ValueError("this always happens")  # tried again, at last a dead letter
        case "hopeless":
            raise DeadLetter("the account is closed")  # a dead letter at once
        case "free":
            raise Discard("nothing to pay")  # completed, without effect
    return {"invoice": f"I-{order.order_id}"}


async def show(redis: str) -> None:
    outcomes = Outcomes()
    billing = HippoMessenger(
        service_name=HippoService.BILLING,
        listens_to=[HippoEvent.ORDER_SUCCESS],
        retry=RetryPolicy(attempts=3, delay=0.1, backoff="exponential", jitter=0.5),
        redis_connection=redis,
        observer=outcomes,
    )
    shop = HippoMessenger(service_name=HippoService.ORDER, redis_connection=redis)
    worker = HippoWorker(messenger=billing)
    worker.on(OrderSuccess)(bill)

    async with HippoBroker(redis_connection=redis), shop, billing, worker:
        await billing.register(wait=True)
        for order_id in ("flaky", "broken", "hopeless", "free"):
            await shop.send(OrderSuccess(order_id=order_id, total=Decimal(1)))
        for _ in range(4):
            await outcomes.ended.acquire()

    for outcome, count in sorted(outcomes.counts.items()):
        print(f"{outcome}: {count}")


async def main() -> None:
    async with EmbeddedServer.private() as server:
        await show(server.url)


if __name__ == "__main__":
    asyncio.run(main())
