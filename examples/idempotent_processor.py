"""A processor that bears to be called twice with one event: it notes the event's id together with its effect."""

from __future__ import annotations

import asyncio
import sqlite3
from decimal import Decimal

from hippo_messenger import (
    EmbeddedServer,
    HippoBroker,
    HippoEvent,
    HippoJob,
    HippoMessenger,
    HippoService,
    HippoWorker,
    OrderSuccess,
    RetryPolicy,
)

SCHEMA = """
CREATE TABLE invoices (order_id TEXT, total TEXT);
CREATE TABLE processed (event_id TEXT PRIMARY KEY);
"""


class Billing:
    """Writes one invoice for each order, however often it hears of it."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self.database = database
        self.calls = 0
        self.done = asyncio.Event()

    async def bill(self, job: HippoJob[OrderSuccess]) -> dict[str, bool]:
        self.calls += 1
        is_new = self.write_invoice(job)
        if job.attempt == 1:
            raise ConnectionError("the work is done, and the process dies before it can say so")
        self.done.set()
        return {"isNew": is_new}

    def write_invoice(self, job: HippoJob[OrderSuccess]) -> bool:
        """Whether it was written now: the id and the invoice are there both, or none of them is."""
        with self.database:
            noted = self.database.execute("INSERT OR IGNORE INTO processed VALUES (?)", (job.id,))
            if noted.rowcount == 0:
                return False
            self.database.execute("INSERT INTO invoices VALUES (?, ?)", (job.data.order_id, str(job.data.total)))
        return True


async def main() -> None:
    database = sqlite3.connect(":memory:")
    database.executescript(SCHEMA)
    billing = Billing(database)
    async with EmbeddedServer.private() as redis:
        messenger = HippoMessenger(
            service_name=HippoService.BILLING,
            listens_to=[HippoEvent.ORDER_SUCCESS],
            retry=RetryPolicy(attempts=3, delay=0.05),
            redis_connection=redis.url,
        )
        worker = HippoWorker(messenger=messenger)
        worker.on(OrderSuccess)(billing.bill)
        sender = HippoMessenger(service_name=HippoService.ORDER, redis_connection=redis.url)
        async with HippoBroker(redis_connection=redis.url), messenger, sender:
            await messenger.register(wait=True)
            async with worker:
                await sender.send(OrderSuccess(order_id="A-1", total=Decimal("12.30")))
                await billing.done.wait()
    [(count,)] = database.execute("SELECT COUNT(*) FROM invoices")
    print(f"called {billing.calls} times, {count} invoice")
    database.close()


if __name__ == "__main__":
    asyncio.run(main())
