"""What all workers of a service may do together can be changed while they work."""

from __future__ import annotations

from decimal import Decimal

import pytest

from hippo_messenger.catalogue.golden_hippo import HippoService, OrderSuccess
from hippo_messenger.errors import ConfigurationError
from hippo_messenger.limits import RateLimit, WorkLimits
from tests.contract.bus import Bus, Recorder

_LONGEST = 2**53 - 1
"""What BullMQ's `rateLimit` writes where somebody stops a queue by hand."""


def orders(count: int) -> list[OrderSuccess]:
    return [OrderSuccess(order_id=f"A-{number}", total=Decimal(number)) for number in range(count)]


@pytest.mark.parametrize("lifted", [False, True])
async def test_a_new_rate_holds_from_the_next_take_on_and_not_after_the_old_period(bus: Bus, lifted: bool) -> None:
    """It guards that raising a limit of some jobs an hour doesn't leave its workers idle for the rest of that hour."""
    account = bus.messenger(HippoService.ACCOUNT)
    await account.set_work_limits(WorkLimits(RateLimit(1, 3600)))
    await bus.worker(account, Recorder(), concurrency=1)
    await account.send_many(orders(3), notify_self=True)
    await bus.settled("account", completed=1, wait=2)

    if lifted:
        await account.set_work_limits(WorkLimits())
        await bus.settled("account", completed=3)
    await account.set_work_limits(WorkLimits(RateLimit(2, 0.2)))

    await account.send_many(orders(3), notify_self=True)
    await bus.settled("account", completed=6)


async def test_a_new_rate_leaves_a_queue_that_was_stopped_by_hand_stopped(bus: Bus) -> None:
    account = bus.messenger(HippoService.ACCOUNT)
    await account.set_work_limits(WorkLimits(RateLimit(5)))
    limiter = bus.queue("account").base + "limiter"
    await bus.redis.set(limiter, _LONGEST, ex=3600)

    await account.set_work_limits(WorkLimits(RateLimit(10)))

    assert await bus.redis.ttl(limiter) > 3000


async def test_a_rate_that_is_set_anew_or_narrowed_forgives_nothing(bus: Bus) -> None:
    """It guards that a service that sets its rate whenever it starts gets no new period by it."""
    account = bus.messenger(HippoService.ACCOUNT)
    limiter = bus.queue("account").base + "limiter"
    await account.set_work_limits(WorkLimits(RateLimit(3, 600)))
    await bus.worker(account, Recorder())
    await account.send_many(orders(5), notify_self=True)
    await bus.settled("account", completed=3, wait=2)
    for rate in (RateLimit(3, 600), RateLimit(2, 3600)):
        await account.set_work_limits(WorkLimits(rate))
        assert await bus.redis.get(limiter) == b"3"
        assert 0 < await bus.redis.pttl(limiter) <= 600_000
    await bus.settled("account", completed=3, wait=2)


async def test_a_concurrency_of_none_is_refused_where_it_is_set(bus: Bus) -> None:
    """Node can set it, and it is read; whoever sets it by mistake would find a queue that stands still."""
    with pytest.raises(ConfigurationError, match="got 0"):
        await bus.messenger(HippoService.ACCOUNT).set_work_limits(WorkLimits(concurrency=0))
