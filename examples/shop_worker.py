"""The worker of a shipping service, with one typed processor for each event.

In a clone, each in a terminal of its own, 2 and 3 with HIPPO_REDIS_URL as the first one says:

1. hippo dev                                        # a server and a broker
2. hippo worker examples.shop_worker:make_worker
3. hippo send ORDER_SUCCESS --from ORDER '{
     "orderId": "A-1", "total": "12.30", "items": [{"sku": "HIP-001"}],
     "shippingAddress": {"line1": "1 Main St", "city": "Portland", "country": "US"}}'

Without address the event becomes a dead letter, without items it is discarded.
"""

from __future__ import annotations

import logging

from hippo_messenger import (
    DeadLetter,
    Discard,
    HippoEvent,
    HippoJob,
    HippoMessenger,
    HippoService,
    HippoWorker,
    OrderCancelled,
    OrderSuccess,
    RetryPolicy,
)

log = logging.getLogger("hippo_messenger.shop")


def make_worker() -> HippoWorker:
    """Where Redis is comes from HIPPO_REDIS_URL or REDIS_URL."""
    messenger = HippoMessenger(
        service_name=HippoService.SHIPPING,
        listens_to=[HippoEvent.ORDER_SUCCESS, HippoEvent.ORDER_CANCELLED],
        retry=RetryPolicy(attempts=5, delay=2.0),
    )
    worker = HippoWorker(messenger=messenger, concurrency=20)

    @worker.on(OrderSuccess)
    async def ship(job: HippoJob[OrderSuccess]) -> dict[str, str]:
        if job.data.shipping_address is None:
            raise DeadLetter("no address: no retry will find one")
        if not job.data.items:
            raise Discard("nothing to ship")
        await job.log(f"attempt {job.attempt}")
        return {"parcel": f"P-{job.data.order_id}"}

    @worker.on(OrderCancelled)
    def stop(job: HippoJob[OrderCancelled]) -> None:  # a plain function runs in a thread
        log.info("%s is not to be shipped, says %s", job.data.order_id, job.origin)

    return worker
