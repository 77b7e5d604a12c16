"""Tests of a service with the test kit: a system for each test, crashes at a point, and time that passes at once.

pip install 'hippo-service-messenger[embedded]' pytest pytest-asyncio
pytest examples/testing_with_the_kit.py
"""

from __future__ import annotations

from decimal import Decimal

import pytest

from hippo_messenger import EventData, HippoEvent, HippoJob, HippoService, OrderSuccess, RetryPolicy
from hippo_messenger.testing import System, eventually, job

pytestmark = pytest.mark.asyncio

ORDER = OrderSuccess(order_id="A-1", total=Decimal("12.30"))


class Carrier:
    """What the service under test talks to; it fails as often as it is told to."""

    def __init__(self, *, fails: int = 0) -> None:
        self.fails = fails
        self.shipped: list[str] = []

    async def ship(self, job: HippoJob[EventData]) -> None:
        if self.fails:
            self.fails -= 1
            raise ConnectionError("the carrier does not answer")
        if job.id not in self.shipped:  # the same job may come twice
            self.shipped.append(job.id)
            await job.log("the carrier has it")

    async def has_shipped(self, *event_ids: str) -> None:
        async def check() -> None:
            assert self.shipped == list(event_ids)

        await eventually(check)


async def test_an_order_that_comes_twice_is_shipped_once() -> None:
    carrier = Carrier()
    again = job(ORDER, attempt=2)

    await carrier.ship(again)
    await carrier.ship(again)

    assert carrier.shipped == [again.id]
    assert again.lines == ("the carrier has it",)


async def test_an_order_is_shipped(hippo: System) -> None:
    carrier = Carrier()
    await hippo.broker()
    shipping = await hippo.messenger(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS)
    await hippo.worker(shipping, carrier.ship)
    shop = await hippo.messenger(HippoService.ORDER)

    event_id = await shop.send(ORDER)

    await carrier.has_shipped(event_id)


async def test_a_carrier_that_fails_is_asked_again_an_hour_later(hippo: System) -> None:
    carrier = Carrier(fails=1)
    await hippo.broker()
    hourly = RetryPolicy(attempts=3, delay=3600, jitter=0)
    shipping = await hippo.messenger(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS, retry=hourly)
    await hippo.worker(shipping, carrier.ship)
    shop = await hippo.messenger(HippoService.ORDER)
    event_id = await shop.send(ORDER)

    async def an_hour_passes() -> None:
        assert await hippo.advance(3600) == 1  # the job that waits for its retry

    await eventually(an_hour_passes)
    await carrier.has_shipped(event_id)


async def test_a_worker_that_dies_before_it_settles_costs_no_order(hippo: System) -> None:
    carrier = Carrier()
    await hippo.broker()
    shipping = await hippo.messenger(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS)
    await hippo.worker(shipping, carrier.ship)
    shop = await hippo.messenger(HippoService.ORDER)
    crash = hippo.crash("shipping", at="before settle")
    event_id = await shop.send(ORDER)
    await crash.happened()  # the order is shipped, and nobody knows

    another = await hippo.messenger(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS)
    await hippo.worker(another, carrier.ship)
    following = await shop.send(ORDER)

    await carrier.has_shipped(event_id, following)
