"""Promise 10: a type that somebody doesn't know yet is not lost; one that nobody wants is counted."""

from __future__ import annotations

import json
from decimal import Decimal
from enum import auto
from functools import partial

from hippo_messenger.catalogue import golden_hippo
from hippo_messenger.catalogue.catalogue import Catalogue
from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService, OrderSuccess
from hippo_messenger.catalogue.model import EventData, EventType
from hippo_messenger.job import HippoJob
from hippo_messenger.messenger import HippoMessenger
from hippo_messenger.testing import eventually
from hippo_messenger.worker import HippoWorker
from tests.contract.bus import Bus, Recorder
from tests.contract.test_05_routing import redrive

ORDER = OrderSuccess(order_id="A-1", total=Decimal(1))


class OldEvent(EventType):
    CONFIG_CHANGE = auto()


class OldConfigChange(EventData, event_type=OldEvent.CONFIG_CHANGE, since="1.0"):
    """A setting has changed."""


OLD = Catalogue(services=HippoService, events=OldEvent, models=[OldConfigChange])


async def worker_without_its_processor(bus: Bus, messenger: HippoMessenger) -> HippoWorker:
    """One that runs, and knows what to do with another event alone."""
    worker = HippoWorker(messenger=messenger)

    @worker.on(golden_hippo.ConfigChange)
    async def config(job: HippoJob[golden_hippo.ConfigChange]) -> None:
        raise AssertionError(job)

    bus.stack.push_async_callback(worker.stop)
    await worker.start()
    return worker


async def test_a_type_that_the_broker_does_not_know_yet_is_parked_and_redriven_after_an_update(bus: Bus) -> None:
    old = await bus.broker(catalogue=OLD)
    await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)

    event_id = await bus.messenger(HippoService.ORDER).send(ORDER)

    await bus.settled("broker", completed=1, failed=1)
    assert "got 'ORDER_SUCCESS'" in (await bus.job("broker", event_id))["failedReason"]
    await old.stop()
    await bus.broker()
    await redrive(bus, "broker", event_id)

    await bus.settled("account", wait=1)
    assert await bus.job_ids("account") == [event_id]


async def test_a_worker_puts_a_type_without_processor_back_until_another_takes_it(bus: Bus) -> None:
    messenger = bus.messenger(HippoService.ACCOUNT)
    old = await worker_without_its_processor(bus, messenger)

    event_id = await messenger.send(ORDER, notify_self=True)

    async def put_back() -> None:
        assert int((await bus.job("account", event_id)).get("ats", 0)) >= 2

    await eventually(put_back)
    assert "atm" not in await bus.job("account", event_id)
    recorder = Recorder()
    await old.stop()
    await bus.worker(bus.messenger(HippoService.ACCOUNT), recorder)
    [job] = await recorder.got(1)
    assert job.attempt == 1


async def test_a_worker_whose_catalogue_lacks_the_type_puts_it_back_too(bus: Bus) -> None:
    sender = bus.messenger(HippoService.ACCOUNT)
    recorder = Recorder()
    await bus.worker(bus.messenger(HippoService.ACCOUNT, catalogue=OLD), recorder)

    event_id = await sender.send(ORDER, notify_self=True)

    async def put_back() -> None:
        assert int((await bus.job("account", event_id)).get("ats", 0)) >= 2

    await eventually(put_back)
    assert recorder.jobs == []


async def test_what_one_worker_puts_back_another_takes_first(bus: Bus) -> None:
    """Guards against a worker that knows to the millisecond when its job is due, and takes it ever again."""
    sender = bus.messenger(HippoService.ACCOUNT)
    await bus.worker(bus.messenger(HippoService.ACCOUNT, catalogue=OLD), Recorder())

    async def is_put_back(event_id: str) -> None:
        assert "ats" in await bus.job("account", event_id)
        assert await bus.count("account", "delayed") == 1

    for _ in range(10):
        event_id = await sender.send(ORDER, notify_self=True)
        await eventually(partial(is_put_back, event_id))
        recorder = Recorder()
        new = await bus.worker(bus.messenger(HippoService.ACCOUNT), recorder)
        await recorder.got(1)
        await new.stop()
        assert int((await bus.job("account", event_id))["ats"]) <= 4


async def test_after_a_bounded_time_it_is_a_dead_letter(bus: Bus) -> None:
    settings = bus.settings.model_copy(update={"unknown_type_patience": 0.3})
    messenger = bus.messenger(HippoService.ACCOUNT, settings=settings)
    await worker_without_its_processor(bus, messenger)
    event_id = await messenger.send(ORDER, notify_self=True)

    await bus.settled("account", failed=1)
    assert "no processor for ORDER_SUCCESS" in (await bus.job("account", event_id))["failedReason"]


async def test_attempts_that_failed_are_no_time_that_it_has_waited(bus: Bus) -> None:
    """Guards against a retried job that an older worker made a dead letter at its first look."""
    settings = bus.settings.model_copy(update={"unknown_type_patience": 3600, "unknown_type_delay": 600})
    account = bus.queue("account")
    messenger = bus.messenger(HippoService.ACCOUNT, settings=settings)
    event_id = await messenger.send(ORDER, notify_self=True)
    await bus.redis.hset(account.job(event_id), mapping={"atm": 7, "ats": 7})
    await worker_without_its_processor(bus, messenger)
    await bus.settled("account", delayed=1)


async def test_an_event_that_nobody_listens_to_completes_with_an_empty_delivery_list(bus: Bus) -> None:
    await bus.broker()
    await bus.listener(HippoService.ACCOUNT, HippoEvent.CONFIG_CHANGE)

    event_id = await bus.messenger(HippoService.ORDER).send(ORDER)

    async def completed() -> None:
        assert (await bus.job("broker", event_id)).get("returnvalue") == {"deliveredTo": []}

    await eventually(completed)
    assert json.loads(json.dumps(await bus.counts("account"))) == {}
