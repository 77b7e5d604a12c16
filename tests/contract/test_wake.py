"""A worker that is woken for what it can't take, since it is full or stops, passes that on."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService, OrderSuccess
from hippo_messenger.catalogue.model import EventData
from hippo_messenger.job import HippoJob
from hippo_messenger.limits import WorkLimits
from hippo_messenger.settings import Settings
from hippo_messenger.testing import Proxy, eventually
from tests.conftest import StartServer
from tests.contract.bus import Bus, Recorder


async def test_a_full_worker_that_cannot_pass_on_a_wake_up_goes_on(
    start_server: StartServer, settings: Settings
) -> None:
    bus = Bus(start_server(), settings)
    began: list[str] = []
    may_end = [asyncio.Event(), asyncio.Event()]

    async def process(job: HippoJob[EventData]) -> None:
        began.append(job.id)
        await may_end[min(len(began), 2) - 1].wait()

    async def have_begun(count: int) -> None:
        assert len(began) == count

    await bus.broker()
    account = await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    await bus.worker(account, process, concurrency=2)
    sender = bus.messenger(HippoService.ORDER)
    await sender.send(OrderSuccess(order_id="1", total=Decimal(1)))
    await eventually(lambda: have_begun(1))
    # The second slot waits on the marker. It is to be filled without it: by what the first job's end finds.
    queue = bus.queue("account")
    await bus.redis.hset(queue.base + "meta", "paused", 1)
    await sender.send_many([OrderSuccess(order_id=str(number), total=Decimal(1)) for number in (2, 3)])
    await bus.settled("account", active=1, wait=2)
    await bus.redis.delete(queue.marker)
    await bus.redis.hdel(queue.base + "meta", "paused")
    may_end[0].set()
    await eventually(lambda: have_begun(3))

    async with bus.redis.pipeline(transaction=True) as together:
        together.zadd(queue.marker, {"0": 0})
        together.config_set("maxmemory", 1)
        await together.execute()

    async def has_been_woken() -> None:
        assert await bus.redis.zcard(queue.marker) == 0
        assert (await bus.redis.info("errorstats"))["errorstat_OOM"]["count"] >= 1

    await eventually(has_been_woken)
    await bus.redis.config_set("maxmemory", 0)
    may_end[1].set()
    await bus.settled("account", completed=3)
    await bus.close()


async def test_a_worker_that_was_woken_while_it_is_stopped_passes_that_on(bus: Bus, proxy: Proxy) -> None:
    """It hears of the job while a call is under way, and is stopped before that has come back."""
    patient = bus.settings.model_copy(update={"block_timeout": 600.0, "worker_lock": 30.0})
    may_end, recorder = asyncio.Event(), Recorder()

    async def process(job: HippoJob[EventData]) -> None:
        await may_end.wait()

    sender = bus.messenger(HippoService.ACCOUNT, settings=patient)
    leaving = await bus.worker(
        bus.messenger(HippoService.ACCOUNT, url=proxy.url, settings=patient), process, concurrency=2
    )
    await sender.send(OrderSuccess(order_id="1", total=Decimal(1)), notify_self=True)
    await bus.settled("account", active=1)
    await eventually(lambda: bus.has_waiting("account", 1))
    await bus.worker(sender, recorder)
    await eventually(lambda: bus.has_waiting("account", 2))

    proxy.delay(1.0, scripts_only=True)
    may_end.set()
    await bus.settled("account", completed=1)
    event_id = await sender.send(OrderSuccess(order_id="2", total=Decimal(1)), notify_self=True)
    await eventually(lambda: bus.has_waiting("account", 1))
    await leaving.stop(grace=5)

    assert [job.id for job in await recorder.got(1)] == [event_id]


@pytest.mark.parametrize("place", ["wait", "prioritized"])
async def test_a_place_that_is_freed_without_a_take_wakes_who_may_take_it(bus: Bus, place: str) -> None:
    """With one job at a time over all workers, the next one is announced to nobody while that place is taken."""
    patient = bus.settings.model_copy(update={"block_timeout": 600.0})
    may_end, recorder = asyncio.Event(), Recorder()

    async def process(job: HippoJob[EventData]) -> None:
        await may_end.wait()

    sender = bus.messenger(HippoService.ACCOUNT, settings=patient)
    await sender.set_work_limits(WorkLimits(concurrency=1))
    leaving = await bus.worker(sender, process, concurrency=1)
    await sender.send(OrderSuccess(order_id="1", total=Decimal(1)), notify_self=True)
    await bus.settled("account", active=1)
    await bus.worker(sender, recorder)
    await eventually(lambda: bus.has_waiting("account", 1))
    priority = 5 if place == "prioritized" else 0
    event_id = await sender.send(OrderSuccess(order_id="2", total=Decimal(1)), notify_self=True, priority=priority)
    await bus.settled("account", active=1, **{place: 1})

    stopping = asyncio.create_task(leaving.stop(grace=5))
    await asyncio.sleep(0)  # it takes no more from here on
    may_end.set()
    await stopping

    assert [job.id for job in await recorder.got(1)] == [event_id]
