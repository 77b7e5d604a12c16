"""Promise 15: any number of brokers, and none is needed: one may be killed, or be away for longer than its lock."""

from __future__ import annotations

import asyncio
import signal
from decimal import Decimal

import pytest

import hippo_messenger.broker
from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService, OrderSuccess
from hippo_messenger.settings import Settings
from hippo_messenger.testing import Proxy, eventually
from hippo_messenger.testing.proxy import CrashPoint
from tests.contract.bus import Bus, Recorder
from tests.contract.processes import Fleet

LISTENERS = (HippoService.ACCOUNT, HippoService.BILLING)
EVENTS = 1000


def orders(count: int) -> list[OrderSuccess]:
    return [OrderSuccess(order_id=f"A-{number}", total=Decimal(number)) for number in range(count)]


async def each_arrived_once(bus: Bus, ids: list[str]) -> None:
    for service in LISTENERS:
        await bus.settled(service, wait=len(ids))
        assert await bus.job_ids(service) == sorted(ids)
    assert await bus.count("broker", "failed") == await bus.count("broker", "active") == 0


@pytest.fixture
async def registered(bus: Bus, fleet: Fleet) -> Bus:
    bus.settings = bus.settings.model_copy(update={"broker_batch": 20})
    starter = await fleet.broker()
    for service in LISTENERS:
        await bus.listener(service, HippoEvent.ORDER_SUCCESS)
    starter.send_signal(signal.SIGTERM)
    assert await starter.wait() == 0
    return bus


@pytest.mark.chaos
async def test_brokers_that_are_killed_one_after_the_other_hold_nothing_up(registered: Bus, fleet: Fleet) -> None:
    bus = registered
    brokers = [await fleet.broker() for _ in range(3)]
    sender = bus.messenger(HippoService.ORDER)

    ids: list[str] = []
    for broker in brokers[:2]:
        ids += await sender.send_many(orders(EVENTS // 2))
        broker.kill()
        await broker.wait()

    await each_arrived_once(bus, ids)


@pytest.mark.chaos
async def test_a_broker_that_was_away_for_longer_than_its_lock_does_no_harm_when_it_is_back(
    registered: Bus, fleet: Fleet
) -> None:
    bus = registered
    away = await fleet.broker()
    sender = bus.messenger(HippoService.ORDER)
    ids = await sender.send_many(orders(EVENTS))
    await fleet.paused_with_jobs(away, "broker")

    await fleet.broker()
    await each_arrived_once(bus, ids)
    away.send_signal(signal.SIGCONT)

    # It works on, and what it had in hand is nobody's second copy.
    ids += await sender.send_many(orders(EVENTS))
    await each_arrived_once(bus, ids)
    assert away.returncode is None
    away.send_signal(signal.SIGTERM)
    assert await away.wait() == 0
    await each_arrived_once(bus, ids)


@pytest.mark.chaos
async def test_a_worker_that_was_away_for_longer_than_its_lock_ends_no_job_of_another(bus: Bus, fleet: Fleet) -> None:
    away = await fleet.worker(seconds=0.3, concurrency=4)
    ids = await bus.messenger(HippoService.ACCOUNT).send_many(orders(4), notify_self=True)
    await fleet.paused_with_jobs(away, "account")

    await fleet.worker(seconds=0.002)
    await bus.settled("account", completed=4)
    stalls = {(await bus.job("account", job_id))["stc"] for job_id in ids}
    away.send_signal(signal.SIGCONT)
    away.send_signal(signal.SIGTERM)

    assert await away.wait() == 0
    assert stalls == {"1"}
    assert await bus.counts("account") == {"completed": 4}
    assert {(await bus.job("account", job_id))["atm"] for job_id in ids} == {"1"}
    # At least once: both have run them, and only one has ended them.
    assert set(await fleet.done()) == set(ids)


@pytest.mark.chaos
@pytest.mark.slow
async def test_with_the_usual_locks_what_a_killed_broker_held_is_routed_by_another(
    registered: Bus, fleet: Fleet
) -> None:
    bus = registered
    usual = Settings(prefix=bus.settings.prefix, broker_batch=20)
    killed = await fleet.broker(usual)
    ids = await bus.messenger(HippoService.ORDER).send_many(orders(EVENTS))
    await fleet.paused_with_jobs(killed, "broker")
    killed.kill()
    await killed.wait()
    assert await bus.count("broker", "active") > 0

    await fleet.broker(usual)

    await each_arrived_once(bus, ids)


async def test_a_broker_that_stops_keeps_no_wake_up_for_itself(bus: Bus, proxy: Proxy) -> None:
    """Redis gives the marker to the one that has waited longest, which is stopped before it hears of it."""
    patient = bus.settings.model_copy(update={"block_timeout": 600.0})
    leaving = await bus.broker(url=proxy.url, settings=patient)
    account = await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    recorder = Recorder()
    await bus.worker(account, recorder)
    await eventually(lambda: bus.has_waiting("broker", 1))
    await bus.broker(settings=patient)
    await eventually(lambda: bus.has_waiting("broker", 2))

    proxy.delay(0.5)
    event_id = await bus.messenger(HippoService.ORDER).send(OrderSuccess(order_id="A-1", total=Decimal(1)))
    await eventually(lambda: bus.has_waiting("broker", 1))
    await leaving.stop()

    assert [job.id for job in await recorder.got(1)] == [event_id]


async def test_a_broker_that_is_stopped_while_it_takes_does_not_wait_for_events_first(
    bus: Bus, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guards against a stop that comes before the wait it is to end: it would last until the next event."""
    hour = 3600.0
    monkeypatch.setattr(hippo_messenger.broker, "_STOP_TIME", hour)
    stops: list[asyncio.Task[None]] = []
    broker = await bus.broker(url=proxy.url, settings=bus.settings.model_copy(update={"block_timeout": hour}))
    marker = bus.queue("broker").marker

    async def is_idle() -> None:
        assert not await bus.redis.exists(marker)

    await eventually(is_idle)
    sprung = proxy.trap(CrashPoint.parse("before take"), lambda: stops.append(asyncio.ensure_future(broker.stop())))
    await bus.redis.zadd(marker, {"0": 0})  # it looks, and finds nothing
    await sprung.wait()
    async with asyncio.timeout(60):
        await stops[0]
