"""A processor that takes too long, and a plain one that looks whether it should end."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from hippo_messenger import (
    EmbeddedServer,
    HippoJob,
    HippoMessenger,
    HippoService,
    HippoWorker,
    Observer,
    OrderCancelled,
    OrderSuccess,
    RetryPolicy,
)


class Outcomes(Observer):
    """Prints what became of each job."""

    def __init__(self) -> None:
        self.settled_jobs = asyncio.Semaphore(0)

    def settled(self, event_type: str, *, queue: str, outcome: str) -> None:
        print(f"{event_type}: {outcome}")
        self.settled_jobs.release()


async def ask_the_bank() -> None:
    await asyncio.sleep(60)


def bank_has_answered() -> bool:
    return False


async def show(redis: str) -> None:
    outcomes = Outcomes()
    billing = HippoMessenger(
        service_name=HippoService.BILLING,
        retry=RetryPolicy(attempts=1),
        redis_connection=redis,
        observer=outcomes,
    )
    worker = HippoWorker(messenger=billing, processor_timeout=0.5)

    @worker.on(OrderSuccess)
    async def charge(job: HippoJob[OrderSuccess]) -> None:
        await ask_the_bank()

    @worker.on(OrderCancelled)
    def refund(job: HippoJob[OrderCancelled]) -> str | None:  # a plain function has to look whether it should end
        while not bank_has_answered():
            if job.wait_cancelled(0.1):  # sleeps so long, but not beyond that
                return None
        return "refunded"

    async with billing, worker:
        await billing.send(OrderSuccess(order_id="A-1", total=Decimal(1)), notify_self=True)
        await outcomes.settled_jobs.acquire()
        await billing.send(OrderCancelled(order_id="A-1"), notify_self=True)
        await outcomes.settled_jobs.acquire()


async def main() -> None:
    async with EmbeddedServer.private() as server:
        await show(server.url)


if __name__ == "__main__":
    asyncio.run(main())
