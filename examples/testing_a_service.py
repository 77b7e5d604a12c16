"""Tests of a service that play its neighbours: on a server of their own, or on a Redis that others use too.

pip install pytest pytest-asyncio
pytest examples/testing_a_service.py
TEST_REDIS_URL=redis://staging:6379/0 pytest examples/testing_a_service.py
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import uuid4

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from hippo_messenger import (
    EmbeddedServer,
    EventData,
    EventValidationError,
    HippoBroker,
    HippoEvent,
    HippoJob,
    HippoMessenger,
    HippoService,
    HippoWorker,
    OrderShipped,
    OrderSuccess,
    RetryPolicy,
    Settings,
)

pytestmark = pytest.mark.asyncio

Carrier = Callable[[str], str]


def make_worker(messenger: HippoMessenger, carrier: Carrier) -> HippoWorker:
    """The service under test: it ships each order, and tells of it."""
    worker = HippoWorker(messenger=messenger)

    @worker.on(OrderSuccess)
    async def ship(job: HippoJob[OrderSuccess]) -> None:
        number = carrier(job.data.order_id)
        # The same job may come twice; then it says the same under the same id, and is heard once.
        await messenger.send(
            OrderShipped(order_id=job.data.order_id, tracking_number=number), event_id=f"shipped-{job.id}"
        )

    return worker


@dataclass
class System:
    """A broker of the test's own, and messengers beside it."""

    url: str
    settings: Settings
    stack: AsyncExitStack
    heard: asyncio.Queue[EventData] = field(default_factory=asyncio.Queue)

    async def messenger(self, service: HippoService, *listens_to: HippoEvent) -> HippoMessenger:
        messenger = HippoMessenger(
            service_name=service,
            listens_to=listens_to,
            redis_connection=self.url,
            settings=self.settings,
            retry=RetryPolicy(delay=0),
        )
        await self.stack.enter_async_context(messenger)
        if listens_to:
            await messenger.register(wait=True)
        return messenger

    async def service(self, carrier: Carrier) -> None:
        shipping = await self.messenger(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS)
        await self.stack.enter_async_context(make_worker(shipping, carrier))

    async def listen(self, *listens_to: HippoEvent) -> None:
        """Play a neighbour."""

        async def hear(job: HippoJob[EventData]) -> None:
            await self.heard.put(job.data)

        neighbour = await self.messenger(HippoService.NOTIFICATION, *listens_to)
        await self.stack.enter_async_context(HippoWorker(messenger=neighbour, processor=hear))

    async def hears(self) -> EventData:
        async with asyncio.timeout(10):
            return await self.heard.get()


@pytest_asyncio.fixture
async def system() -> AsyncIterator[System]:
    """The tests differ in the connection and in nothing else, wherever they run."""
    settings = Settings(prefix=f"{{test-{uuid4().hex}}}")  # nobody else's, also on a shared Redis
    async with AsyncExitStack() as stack:
        url = os.environ.get("TEST_REDIS_URL")
        if not url:
            url = (await stack.enter_async_context(EmbeddedServer.private())).url
        stack.push_async_callback(remove, url, settings.prefix)  # last, when nothing writes any more
        await stack.enter_async_context(HippoBroker(redis_connection=url, settings=settings))
        yield System(url, settings, stack)


async def remove(url: str, prefix: str) -> None:
    """Remove every key of one prefix."""
    async with Redis.from_url(url) as redis:
        async for key in redis.scan_iter(match=f"{prefix}:*", count=1000):
            await redis.unlink(key)


async def test_an_order_is_shipped(system: System) -> None:
    await system.service(carrier=lambda order_id: f"T-{order_id}")
    await system.listen(HippoEvent.ORDER_SHIPPED)
    shop = await system.messenger(HippoService.ORDER)

    await shop.send(OrderSuccess(order_id="A-1", total=Decimal("12.30")))

    assert await system.hears() == OrderShipped(order_id="A-1", tracking_number="T-A-1")


async def test_a_carrier_that_fails_is_asked_again(system: System) -> None:
    answers = iter([None, "T-1"])

    def carrier(order_id: str) -> str:
        answer = next(answers)
        if answer is None:
            raise ConnectionError("the carrier does not answer")
        return answer

    await system.service(carrier)
    await system.listen(HippoEvent.ORDER_SHIPPED)
    shop = await system.messenger(HippoService.ORDER)

    await shop.send(OrderSuccess(order_id="A-1", total=Decimal("12.30")))

    assert await system.hears() == OrderShipped(order_id="A-1", tracking_number="T-1")


async def test_an_order_without_an_id_is_not_even_sent(system: System) -> None:
    shop = await system.messenger(HippoService.ORDER)
    with pytest.raises(EventValidationError, match="orderId: required"):
        await shop.send(event_type=HippoEvent.ORDER_SUCCESS, data={"total": "12.30"})
