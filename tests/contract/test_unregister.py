"""Unregistering: no new events, the repeat job is gone, and what becomes of the jobs is as it was chosen."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from functools import partial
from typing import Any

import bullmq
import pytest

from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService, OrderSuccess
from hippo_messenger.errors import ConfigurationError, DeadLetter, EventValidationError
from hippo_messenger.messenger import HippoMessenger
from hippo_messenger.observer import Observer
from hippo_messenger.queues.call import Caller
from hippo_messenger.queues.registry import Registry
from hippo_messenger.queues.schedule import Schedule
from hippo_messenger.registration import Registration
from hippo_messenger.testing import eventually
from tests.contract.bus import Bus, Recorder

ORDER = OrderSuccess(order_id="A-1", total=Decimal(1))


async def with_jobs(bus: Bus, count: int) -> HippoMessenger:
    """A registered service with so many jobs, and another that keeps the registry from being empty."""
    await bus.broker()
    await bus.listener(HippoService.BILLING)
    shipping = await bus.listener(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS)
    await bus.messenger(HippoService.ORDER).send_many([ORDER] * count)
    await bus.settled("shipping", wait=count)
    return shipping


async def keys_of(bus: Bus, service: str) -> list[bytes]:
    return [key async for key in bus.redis.scan_iter(match=bus.queue(service).base + "*")]


async def test_an_unregistered_service_gets_no_events_and_keeps_its_jobs_and_stays_away(bus: Bus) -> None:
    shipping = await with_jobs(bus, 3)

    removed = await shipping.unregister()

    assert (removed.was_registered, removed.waiting, removed.is_gone) == (True, 3, False)
    assert await bus.redis.hkeys(bus.layout.registry) == [b"billing"]
    assert await bus.redis.zrange(bus.queue("broker").scheduler, 0, -1) == [b"hippo.register.billing"]
    assert await bus.count("broker", "delayed") == 0
    event_id = await bus.messenger(HippoService.ORDER).send(ORDER)

    async def completed() -> None:
        assert (await bus.job("broker", event_id)).get("returnvalue") == {"deliveredTo": []}

    await eventually(completed)
    assert await bus.counts("shipping") == {"wait": 3}
    await bus.worker(shipping, recorder := Recorder())
    await recorder.got(3)
    again = await shipping.unregister()
    assert (again.was_registered, again.left) == (False, 0)


async def test_drain_waits_for_the_workers_and_then_the_queue_is_gone(bus: Bus) -> None:
    shipping = await with_jobs(bus, 20)
    draining = asyncio.create_task(shipping.unregister(jobs="drain", timeout=30))
    recorder = Recorder()
    worker = await bus.worker(shipping, recorder)

    removed = await draining

    assert (removed.is_gone, removed.left, removed.discarded) == (True, 0, 0)
    await recorder.got(20)
    await worker.stop()
    assert await bus.counts("shipping") == {}


async def test_drain_says_what_is_left_and_goes_on_when_it_is_asked_again(bus: Bus) -> None:
    shipping = await with_jobs(bus, 2)
    removed = await shipping.unregister(jobs="drain", timeout=0)
    assert (removed.is_gone, removed.waiting, removed.active) == (False, 2, 0)

    await bus.worker(shipping, Recorder(raises=[DeadLetter("broken")]), concurrency=1)
    removed = await shipping.unregister(jobs="drain", timeout=30)
    assert (removed.is_gone, removed.waiting, removed.dead_letters) == (False, 0, 1)
    await bus.settled("shipping", completed=1, failed=1)


async def test_drain_takes_no_dead_letter_for_the_record_of_a_rejected_event(bus: Bus) -> None:
    """BullMQ's clean takes records out of the failed jobs alone: what is left of them hides no dead letter."""
    shipping = await with_jobs(bus, 2)
    for _ in range(2):
        with pytest.raises(EventValidationError):
            await shipping.send(event_type=HippoEvent.ORDER_SUCCESS, data={}, notify_self=True)
    await bus.settled("shipping", failed=2, wait=2)
    cleaner: Any = bullmq.Queue("shipping", {"connection": bus.redis, "prefix": bus.settings.prefix})
    assert len(await cleaner.clean(0, 0, "failed")) == 2
    await bus.worker(shipping, Recorder(raises=[DeadLetter("broken")] * 2))
    await bus.settled("shipping", failed=2)

    removed = await shipping.unregister(jobs="drain", timeout=0)

    assert (removed.is_gone, removed.dead_letters) == (False, 2)
    assert await bus.counts("shipping") == {"failed": 2}


async def test_discard_removes_all_but_what_is_in_hand(bus: Bus) -> None:
    shipping = await with_jobs(bus, 500)
    release = asyncio.Event()

    async def hold(job: object) -> None:
        await release.wait()

    worker = await bus.worker(shipping, hold, concurrency=2)
    await bus.settled("shipping", wait=498, active=2)

    removed = await shipping.unregister(jobs="discard", timeout=0)
    assert (removed.is_gone, removed.discarded, removed.active, removed.left) == (False, 498, 2, 2)

    release.set()
    await worker.stop()
    removed = await shipping.unregister(jobs="discard")
    assert (removed.is_gone, removed.discarded) == (True, 0)
    assert await keys_of(bus, "shipping") == []


async def test_a_service_that_registers_again_keeps_its_queue(bus: Bus) -> None:
    shipping = await with_jobs(bus, 2)
    draining = asyncio.create_task(shipping.unregister(jobs="drain", timeout=30))

    async def is_out() -> None:
        assert not await bus.redis.hexists(bus.layout.registry, "shipping")

    await eventually(is_out)
    await shipping.register(wait=True)

    assert (await draining).registered_again
    await bus.settled("shipping", wait=2)


async def test_a_repeat_job_that_was_made_too_late_goes_with_its_first_tick(bus: Bus) -> None:
    """A broker was held up between the registration that it took and its repeat job; meanwhile it was unregistered."""
    settings = bus.settings.model_copy(update={"registration_interval": 0.3})
    await bus.broker(settings=settings)
    await bus.listener(HippoService.BILLING)
    shipping = await bus.listener(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS)
    await shipping.unregister()
    schedule = Schedule(shipping.connection, settings=settings)
    await schedule.replace(Registration(service="shipping", listens_to=frozenset({"ORDER_SUCCESS"})), number=2)

    async def is_gone() -> None:
        assert await bus.redis.zrange(bus.queue("broker").scheduler, 0, -1) == [b"hippo.register.billing"]

    await eventually(is_gone)
    assert await bus.redis.hkeys(bus.layout.registry) == [b"billing"]


async def test_no_repeat_job_is_made_for_a_service_that_was_unregistered_meanwhile(bus: Bus) -> None:
    """Whoever makes one looks at the registry afterwards, and reads its number before its entry."""
    await bus.broker()
    shipping = await bus.listener(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS)
    await shipping.unregister()
    connection = shipping.connection
    registry = Registry(connection, bus.layout, caller=Caller(connection, observer=Observer()))
    schedule = Schedule(connection, settings=bus.settings)

    await schedule.replace(Registration(service="shipping", listens_to=frozenset()), number=1)
    await schedule.follow(registry, "shipping", number=1)
    assert await bus.redis.zcard(bus.queue("broker").scheduler) == 0
    await schedule.follow(registry, "shipping")
    assert await bus.redis.zcard(bus.queue("broker").scheduler) == 0


async def test_another_choice_is_refused_before_anything_is_done(bus: Bus) -> None:
    shipping = await with_jobs(bus, 1)
    with pytest.raises(ConfigurationError, match="keep, drain, discard, got 'burn'"):
        await shipping.unregister(jobs="burn")  # type: ignore[arg-type]
    assert await bus.redis.hexists(bus.layout.registry, "shipping")
    await bus.redis.delete(bus.layout.presence("shipping"))

    async def is_still_there() -> None:
        assert await bus.redis.exists(bus.layout.presence("shipping"))

    await eventually(is_still_there)


async def test_a_messenger_elsewhere_takes_note_and_does_not_register_it_again(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    shipping = await with_jobs(bus, 1)
    await bus.listener(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS)

    async def both_are_there() -> None:
        assert await bus.redis.zcard(bus.layout.presence("shipping")) == 2

    await eventually(both_are_there)

    await shipping.unregister()

    async def taken_note() -> None:
        assert caplog.text.count("shipping was unregistered") == 1

    await eventually(taken_note)
    assert not await bus.redis.hexists(bus.layout.registry, "shipping")
    assert await bus.redis.exists(bus.layout.presence("shipping")) == 0
    await shipping.register(wait=True)
    assert await bus.redis.hkeys(bus.layout.unregistered) == []


async def test_presence_goes_on_after_a_registration_that_no_broker_has_taken_yet(bus: Bus) -> None:
    """Guards against presence that ends: registered after all, the service was never heard of again."""
    broker = await bus.broker()
    shipping = await bus.listener(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS)
    await eventually(partial(has_presence, bus, "shipping"))
    await broker.stop()
    elsewhere = bus.messenger(HippoService.SHIPPING)
    await elsewhere.unregister()
    await shipping.register()  # nobody takes it yet
    looks = await scripts_run(bus)

    async def has_looked() -> None:
        assert await scripts_run(bus) >= looks + 2

    await eventually(has_looked)
    await bus.broker()
    await eventually(partial(has_presence, bus, "shipping"))


async def has_presence(bus: Bus, service: str) -> None:
    assert await bus.redis.exists(bus.layout.presence(service))


async def scripts_run(bus: Bus) -> int:
    """How often any script was called on this server."""
    stats = await bus.redis.info("commandstats")
    return int(stats["cmdstat_evalsha"]["calls"])
