"""Promise 19: a service whose processor fails everything is slowed down instead of burning every job's attempts."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService, OrderSuccess
from hippo_messenger.catalogue.model import EventData
from hippo_messenger.errors import DeadLetter, Discard
from hippo_messenger.job import HippoJob
from hippo_messenger.messenger import HippoMessenger
from hippo_messenger.observer import Observer
from hippo_messenger.queues.overview import Overview
from hippo_messenger.retry import RetryPolicy
from hippo_messenger.testing import eventually
from tests.contract.bus import Bus, Recorder
from tests.contract.test_03_invalid_events import PICKY

ORDER = OrderSuccess(order_id="A-1", total=Decimal(1))
CONCURRENCY = 10
SEEN = 20
"""How many attempts a worker looks at before it judges."""


class Watcher(Observer):
    def __init__(self) -> None:
        self.states: list[str] = []

    def breaker(self, state: str, *, queue: str) -> None:
        assert queue == "account"
        self.states.append(state)


class Patient:
    """A processor that fails everything until it is healed."""

    def __init__(self) -> None:
        self.is_ill = True
        self.failures = 0

    async def __call__(self, job: HippoJob[EventData]) -> None:
        await asyncio.sleep(0)
        if self.is_ill:
            self.failures += 1
            raise ConnectionError("the database is away")


async def slowed(bus: Bus, messenger: HippoMessenger) -> int:
    """What `hippo status` says of the service."""
    standings = await Overview(messenger.connection, bus.layout).standings()
    return {standing.queue: standing.slowed for standing in standings}["account"]


async def test_while_everything_fails_jobs_wait_and_when_it_heals_all_are_processed(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    await bus.broker()
    watcher, patient = Watcher(), Patient()
    account = await bus.listener(
        HippoService.ACCOUNT,
        HippoEvent.ORDER_SUCCESS,
        retry=RetryPolicy(attempts=3, delay=0.01),
        observer=watcher,
    )
    await bus.messenger(HippoService.ORDER).send_many([ORDER] * 1000)
    await bus.settled("account", wait=1000)

    await bus.worker(account, patient, concurrency=CONCURRENCY)

    async def two_probes_failed() -> None:
        assert watcher.states.count("open") >= 3

    await eventually(two_probes_failed, timeout=30)
    # What was judged, what was in hand and on its way when it was, and the probes.
    assert patient.failures <= SEEN + 2 * CONCURRENCY + watcher.states.count("half-open")
    assert await bus.count("account", "failed") == 0
    assert await slowed(bus, account) == 1
    assert "account: the processor fails almost everything: the breaker is open" in caplog.text

    patient.is_ill = False

    async def all_processed() -> None:
        assert await bus.counts("account") == {"completed": 1000}

    await eventually(all_processed, timeout=60)
    assert watcher.states[-1] == "closed"
    assert "the breaker is closed" in caplog.text

    async def shown_no_more() -> None:
        assert await slowed(bus, account) == 0

    await eventually(shown_no_more)


@pytest.mark.parametrize("verdict", [DeadLetter("no account"), Discard("nothing to do")], ids=["dead", "discarded"])
async def test_what_a_processor_says_on_purpose_does_not_count(bus: Bus, verdict: Exception) -> None:
    watcher = Watcher()
    account = bus.messenger(HippoService.ACCOUNT, observer=watcher)
    await bus.worker(account, Recorder(raises=[verdict] * 100))

    await account.send_many([ORDER] * 100, notify_self=True)

    await bus.settled("account", **{"failed" if isinstance(verdict, DeadLetter) else "completed": 100})
    assert watcher.states == []


async def test_events_that_are_no_good_do_not_count(bus: Bus) -> None:
    watcher = Watcher()
    account = bus.messenger(HippoService.ACCOUNT, observer=watcher)
    base = bus.queue("account").base
    for number in range(100):
        fields = {"name": "x", "data": "{}", "opts": '{"attempts":3}', "timestamp": 1}
        await bus.redis.hset(f"{base}foreign-{number}", mapping=fields)
        await bus.redis.lpush(base + "wait", f"foreign-{number}")
    await bus.worker(account, Recorder())

    await bus.settled("account", failed=100)
    assert watcher.states == []


async def test_an_event_whose_validator_fails_is_no_good_and_no_attempt_of_the_processor(bus: Bus) -> None:
    """A validator may raise whatever it likes, not only what pydantic takes for a verdict."""
    watcher = Watcher()
    account = bus.messenger(HippoService.ACCOUNT, observer=watcher, catalogue=PICKY)
    sender = bus.messenger(HippoService.ACCOUNT, retry=RetryPolicy(attempts=3, delay=0.01))
    recorder = Recorder()
    await bus.worker(account, recorder)

    bad = OrderSuccess(order_id="bad", total=Decimal(1))
    await sender.send_many([bad] * SEEN, notify_self=True)

    await bus.settled("account", failed=SEEN)
    assert "reading it raised ZeroDivisionError" in (await bus.failed("account"))[0]["failedReason"]
    assert (recorder.jobs, watcher.states) == ([], [])


async def test_it_can_be_switched_off(bus: Bus) -> None:
    watcher = Watcher()
    off = bus.settings.model_copy(update={"breaker_attempts": 0})
    account = bus.messenger(HippoService.ACCOUNT, observer=watcher, retry=RetryPolicy(attempts=1), settings=off)
    await bus.worker(account, Patient())

    await account.send_many([ORDER] * 100, notify_self=True)

    await bus.settled("account", failed=100)
    assert watcher.states == []


async def test_a_worker_that_stops_leaves_no_open_breaker_behind(bus: Bus) -> None:
    watcher, patient = Watcher(), Patient()
    account = bus.messenger(HippoService.ACCOUNT, observer=watcher, retry=RetryPolicy(attempts=100, delay=0.01))
    key = bus.layout.open_breakers("account")
    worker = await bus.worker(account, patient)
    await account.send_many([ORDER] * 50, notify_self=True)

    async def noted() -> None:
        assert await bus.redis.zcard(key) == 1

    await eventually(noted)
    assert await bus.redis.pttl(key) > 0
    await worker.stop()
    assert await bus.redis.zcard(key) == 0


async def test_while_its_breaker_is_open_a_worker_leaves_the_jobs_to_others(bus: Bus) -> None:
    watcher, patient = Watcher(), Patient()
    retry = RetryPolicy(attempts=100, delay=0.01)
    ill = bus.messenger(HippoService.ACCOUNT, observer=watcher, retry=retry)
    await bus.worker(ill, patient)
    await ill.send_many([ORDER] * 40, notify_self=True)

    async def opened() -> None:
        assert "open" in watcher.states

    await eventually(opened)
    recorder = Recorder()
    await bus.worker(bus.messenger(HippoService.ACCOUNT, retry=retry), recorder)

    await bus.settled("account", completed=40)
    await ill.send_many([ORDER] * 40, notify_self=True)
    await bus.settled("account", completed=80)
