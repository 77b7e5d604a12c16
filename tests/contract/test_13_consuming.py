"""Promise 13: nothing that should consume a queue stops doing so unnoticed; a loop that dies is started again."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService, OrderSuccess
from hippo_messenger.catalogue.model import EventData
from hippo_messenger.job import HippoJob
from hippo_messenger.observer import Observer
from hippo_messenger.retry import RetryPolicy
from hippo_messenger.testing import Proxy, eventually
from hippo_messenger.worker import HippoWorker
from tests.contract.bus import Bus, Recorder
from tests.contract.outages import Listening, MortalServer, System


def orders(count: int) -> list[OrderSuccess]:
    return [OrderSuccess(order_id=f"A-{number}", total=Decimal(number)) for number in range(count)]


class Raising(Listening):
    """Raises whatever it is told, in the middle of everybody's work, but who was started again."""

    def __init__(self) -> None:
        super().__init__()
        for name in vars(Observer):
            if not name.startswith("_") and name != "restarted":
                setattr(self, name, self._raise)

    def _raise(self, *told: object, **more: object) -> None:
        raise RuntimeError("a fault of the observer")


@pytest.mark.chaos
async def test_a_worker_whose_loop_dies_goes_on_and_no_job_is_lost_or_kept(bus: Bus, proxy: Proxy) -> None:
    observer = Listening()
    recorder = Recorder()
    account = bus.messenger(HippoService.ACCOUNT, url=proxy.url, observer=observer)
    worker = await bus.worker(account, recorder, concurrency=5)
    sender = bus.messenger(HippoService.ACCOUNT)
    ids: list[str] = []

    for number in range(1, 4):
        proxy.garble_replies(1)
        ids += await sender.send_many(orders(20), notify_self=True)
        # What the reply was about is found as stalled; each round has to end before the next may stall it again.
        await bus.settled("account", completed=20 * number)

    assert proxy.garbled == 3
    assert observer.restarts
    assert set(recorder.ids) == set(ids)
    assert worker.health.ready


@pytest.mark.chaos
async def test_a_worker_whose_observer_raises_settles_its_jobs_all_the_same(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    observer, recorder = Raising(), Recorder()
    await bus.worker(bus.messenger(HippoService.ACCOUNT, observer=observer), recorder, concurrency=5)

    ids = await bus.messenger(HippoService.ACCOUNT).send_many(orders(20), notify_self=True)

    await bus.settled("account", completed=20)
    assert sorted(recorder.ids) == sorted(ids)
    assert observer.restarts == []
    assert "the observer raised at settled" in caplog.text


@pytest.mark.chaos
async def test_an_observer_that_raises_at_a_breaker_costs_no_job_an_attempt(bus: Bus) -> None:
    """It is told of it between a take and the begin of a job, and between the end of a job and its settling."""
    observer = Raising()
    account = bus.messenger(HippoService.ACCOUNT, observer=observer, retry=RetryPolicy(attempts=2, delay=0.01))
    recorder = Recorder(raises=[ValueError("ill")] * 20)
    await bus.worker(account, recorder, concurrency=1)

    await account.send_many(orders(30), notify_self=True)

    await bus.settled("account", completed=30)
    assert len(recorder.jobs) == 50
    assert observer.restarts == []


@pytest.mark.chaos
async def test_what_a_worker_that_stops_is_to_put_back_survives_a_fault(bus: Bus, proxy: Proxy) -> None:
    observer = Listening()
    settings = bus.settings.model_copy(update={"worker_lock": 30.0, "worker_stall_check": 60.0})
    account = bus.messenger(HippoService.ACCOUNT, url=proxy.url, observer=observer, settings=settings)
    stubborn: list[str] = []

    async def process(job: HippoJob[EventData]) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if job.id in stubborn:
                return
            raise

    worker = await bus.worker(account, process, concurrency=2)
    ids = await bus.messenger(HippoService.ACCOUNT).send_many(orders(2), notify_self=True)
    stubborn.append(ids[1])
    await bus.settled("account", active=2)

    proxy.garble_replies(1)
    await worker.stop(grace=0)

    assert observer.restarts == [("worker of account", "processing")]
    assert await bus.counts("account") == {"wait": 1, "completed": 1}


@pytest.mark.chaos
async def test_a_broker_whose_loop_dies_goes_on_and_each_event_arrives_once(bus: Bus, proxy: Proxy) -> None:
    observer = Listening()
    await bus.broker(url=proxy.url, observer=observer)
    for service in (HippoService.ACCOUNT, HippoService.BILLING):
        await bus.listener(service, HippoEvent.ORDER_SUCCESS)
    sender = bus.messenger(HippoService.ORDER)
    ids: list[str] = []

    for number in range(1, 4):
        proxy.garble_replies(1)
        ids += await sender.send_many(orders(30))
        await bus.settled("account", wait=30 * number)

    assert observer.restarts
    for name in ("account", "billing"):
        assert await bus.job_ids(name) == sorted(ids)
    assert await bus.count("broker", "active") == await bus.count("broker", "failed") == 0


@pytest.mark.chaos
async def test_a_broker_whose_observer_raises_delivers_each_event_once(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    observer = Raising()
    await bus.broker(observer=observer)
    await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    ids: list[str] = []

    for _ in range(3):
        ids += await bus.messenger(HippoService.ORDER).send_many(orders(10))
        await bus.settled("account", wait=len(ids))

    assert await bus.job_ids("account") == sorted(ids)
    assert observer.restarts == []
    assert "the observer raised at routed" in caplog.text
    assert await bus.count("broker", "failed") == 0


@pytest.mark.chaos
async def test_a_messenger_whose_presence_dies_goes_on_saying_that_it_is_there(bus: Bus, proxy: Proxy) -> None:
    observer = Listening()
    await bus.broker()
    await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS, url=proxy.url, observer=observer)
    key = bus.layout.presence("account")

    async def died() -> bool:
        return ("messenger of account", "presence") in observer.restarts

    proxy.garble_replies(1)
    await eventually(died)
    [(instance, before)] = await bus.redis.zrange(key, 0, -1, withscores=True)

    async def said_again() -> None:
        assert await bus.redis.zscore(key, instance) > before

    await eventually(said_again)


@pytest.mark.chaos
async def test_connected_but_not_consuming_is_noticed_and_passes(
    bus: Bus, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    """The way to Redis swallows everything, and the time limit of a call is far away: nothing fails, nothing moves."""
    bus.settings = bus.settings.model_copy(update={"call_timeout": 60.0, "block_timeout": 1.0})
    system = await System.started(bus, url=proxy.url)
    assert system.worker.health.ready
    assert system.broker.health.ready

    proxy.half_open()

    async def noticed() -> None:
        assert {owner for owner, _ in system.observer.readiness} == {"worker of account", "message broker"}
        assert not system.worker.health.ready
        assert not system.broker.health.ready

    await eventually(noticed)
    assert "has not polled its queue" in system.worker.health.reason
    assert "worker of account: does not consume its queue: it has not polled its queue" in caplog.text
    proxy.cut()
    await system.works()

    async def well() -> None:
        assert system.worker.health.ready
        assert system.broker.health.ready
        assert {owner for owner, reason in system.observer.readiness if not reason} == {
            "worker of account",
            "message broker",
        }

    await eventually(well)


@pytest.mark.chaos
async def test_without_redis_nobody_is_ready_and_afterwards_both_are(
    mortal_server: MortalServer, mortal_bus: Bus
) -> None:
    await mortal_server.start()
    system = await System.started(mortal_bus)

    await mortal_server.kill()

    async def unready() -> None:
        for health in (system.worker.health, system.broker.health):
            assert (health.alive, health.redis_ok, health.reason) == (True, False, "Redis gives no answer")

    await eventually(unready)
    await mortal_server.start()
    await system.works()
    assert system.worker.health.ready
    assert system.broker.health.ready


async def test_a_worker_that_has_no_room_needs_not_poll(bus: Bus) -> None:
    release, begun = asyncio.Event(), asyncio.Event()

    async def hold(job: HippoJob[EventData]) -> None:
        begun.set()
        await release.wait()

    # So short a time between two polls that whoever is to poll is late at once.
    settings = bus.settings.model_copy(update={"block_timeout": 1.0})
    worker = await bus.worker(bus.messenger(HippoService.ACCOUNT, settings=settings), hold, concurrency=1)
    await bus.messenger(HippoService.ACCOUNT).send_many(orders(2), notify_self=True)
    await begun.wait()

    async def for_long() -> None:
        age = worker.health.last_poll_age
        assert age is not None
        assert age > 2 * settings.block_timeout

    await eventually(for_long)
    assert worker.health.ready
    release.set()
    await bus.settled("account", completed=2)


async def test_who_was_not_started_or_was_stopped_is_not_alive(bus: Bus) -> None:
    messenger = bus.messenger(HippoService.ACCOUNT)
    worker = HippoWorker(messenger=messenger, processor=Recorder())
    assert (worker.health.alive, worker.health.reason) == (False, "it was not started yet")
    await worker.start()
    assert worker.health.ready
    await worker.stop(grace=0)
    assert (worker.health.alive, worker.health.reason) == (False, "it was stopped")

    broker = await bus.broker()
    assert broker.health.ready
    await broker.stop()
    assert (broker.health.alive, broker.health.reason) == (False, "it was stopped")
