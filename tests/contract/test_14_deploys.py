"""Promise 14: a deploy loses and doubles nothing; who is asked to stop finishes, or gives back to the head at once."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from decimal import Decimal

import pytest

from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService, OrderSuccess
from hippo_messenger.testing import eventually
from tests.contract.bus import Bus, Recorder
from tests.contract.processes import Fleet

EVENTS = 3000
BACKLOG = 100_000
FOR_EVER = 3600.0


def orders(count: int) -> list[OrderSuccess]:
    return [OrderSuccess(order_id=f"A-{number}", total=Decimal(number)) for number in range(count)]


async def head_of_the_line(bus: Bus, count: int) -> list[str]:
    line = await bus.redis.lrange(bus.queue("account").base + "wait", -count, -1)
    return [job_id.decode() for job_id in reversed(line)]


async def bears_no_trace(bus: Bus, ids: list[str]) -> None:
    """Nothing says that somebody had these jobs: no attempt and no stall is counted, and no lock is left."""
    for job_id in ids:
        fields = await bus.job("account", job_id)
        assert "atm" not in fields
        assert "stc" not in fields
        assert not await bus.redis.exists(bus.queue("account").job(job_id) + ":lock")


@pytest.mark.chaos
async def test_sigterm_lets_running_processors_finish_and_takes_no_more(bus: Bus, fleet: Fleet) -> None:
    worker = await fleet.worker(seconds=0.5, concurrency=4)
    ids = await bus.messenger(HippoService.ACCOUNT).send_many(orders(20), notify_self=True)
    await bus.settled("account", active=4, wait=16)

    worker.send_signal(signal.SIGTERM)

    assert await worker.wait() == 0
    done = await fleet.done()
    assert await bus.counts("account") == {"completed": len(done), "wait": 20 - len(done)}
    assert sorted(done) == sorted(ids[: len(done)])
    assert 4 <= len(done) < 20
    await bears_no_trace(bus, ids[len(done) :])


@pytest.mark.chaos
async def test_a_second_signal_puts_back_at_once_and_an_idle_worker_runs_it(bus: Bus, fleet: Fleet) -> None:
    bus.settings = bus.settings.model_copy(update={"worker_grace": FOR_EVER})
    # It has room for one job more, so that it waits, and its end of waiting shows that it has heard the first signal:
    # of two signals at once a process is told one.
    worker = await fleet.worker(seconds=FOR_EVER, concurrency=5)
    ids = await bus.messenger(HippoService.ACCOUNT).send_many(orders(4), notify_self=True)
    await bus.settled("account", active=4)
    # It looks by itself once in ten minutes, so it must be woken.
    recorder = Recorder()
    patient = bus.settings.model_copy(update={"block_timeout": 600.0})
    await bus.worker(bus.messenger(HippoService.ACCOUNT, settings=patient), recorder)
    await eventually(lambda: bus.has_waiting("account", 2))

    worker.send_signal(signal.SIGTERM)
    await eventually(lambda: bus.has_waiting("account", 1))
    assert await bus.count("account", "active") == 4
    worker.send_signal(signal.SIGTERM)

    assert await worker.wait() == 0
    assert sorted(job.id for job in await recorder.got(4)) == sorted(ids)
    assert {job.attempt for job in recorder.jobs} == {1}
    await bus.settled("account", completed=4)
    assert await fleet.done() == []
    assert {"stc" in await bus.job("account", job_id) for job_id in ids} == {False}


@pytest.mark.chaos
async def test_at_the_end_of_the_grace_period_the_rest_goes_back_to_the_head(bus: Bus, fleet: Fleet) -> None:
    bus.settings = bus.settings.model_copy(update={"worker_grace": 0.2})
    worker = await fleet.worker(seconds=FOR_EVER, concurrency=4)
    ids = await bus.messenger(HippoService.ACCOUNT).send_many(orders(10), notify_self=True)
    await bus.settled("account", active=4, wait=6)

    worker.send_signal(signal.SIGTERM)

    assert await worker.wait() == 0
    assert await head_of_the_line(bus, 10) == ids
    await bears_no_trace(bus, ids)


@pytest.mark.chaos
@pytest.mark.slow
async def test_what_is_put_back_runs_first_also_before_a_backlog_of_100_000(bus: Bus, fleet: Fleet) -> None:
    bus.settings = bus.settings.model_copy(update={"worker_grace": 0.0})
    worker = await fleet.worker(seconds=FOR_EVER, concurrency=4)
    sender = bus.messenger(HippoService.ACCOUNT)
    ids = await sender.send_many(orders(4), notify_self=True)
    await bus.settled("account", active=4)
    await fill(bus, ids[0], BACKLOG)

    worker.send_signal(signal.SIGTERM)
    assert await worker.wait() == 0

    recorder = Recorder()
    again = await bus.worker(bus.messenger(HippoService.ACCOUNT), recorder, concurrency=4)

    async def some_came() -> None:
        assert len(recorder.jobs) >= 4

    await eventually(some_came)
    await again.stop(grace=5)
    assert recorder.ids[:4] == ids
    assert {job.attempt for job in recorder.jobs} == {1}


async def fill(bus: Bus, like: str, count: int) -> None:
    """Copies of one job behind it in the line, each under an id of its own."""
    base = bus.queue("account").base
    fields = {name.decode(): value for name, value in (await bus.redis.hgetall(base + like)).items()}
    envelope = json.loads(fields["data"])
    for first in range(0, count, 5000):
        ids = [f"one-of-the-backlog-{number}" for number in range(first, first + 5000)]
        pipeline = bus.redis.pipeline(transaction=False)
        for job_id in ids:
            copy = {"name": fields["name"], "data": json.dumps(envelope | {"id": job_id}), "opts": fields["opts"]}
            pipeline.hset(base + job_id, mapping=copy | {"timestamp": 1})
        pipeline.lpush(base + "wait", *ids)
        await pipeline.execute()


@pytest.mark.chaos
@pytest.mark.slow
async def test_restarting_every_process_one_by_one_under_load_loses_and_doubles_nothing(bus: Bus, fleet: Fleet) -> None:
    # The usual locks: what is to be seen here are restarts, not processes that a busy machine keeps from renewing.
    bus.settings = bus.settings.model_copy(update={"worker_lock": 30.0, "broker_lock": 5.0})
    brokers = [await fleet.broker() for _ in range(2)]
    workers = [await fleet.worker() for _ in range(3)]
    await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    sender = bus.messenger(HippoService.ORDER)
    ids: list[str] = []
    restarted = asyncio.Event()

    async def keep_sending() -> None:
        while len(ids) < EVENTS or not restarted.is_set():
            ids.extend(await sender.send_many(orders(25)))
            await asyncio.sleep(0.05)

    sending = asyncio.create_task(keep_sending())
    for old in workers:
        await fleet.worker()
        old.send_signal(signal.SIGTERM)
        assert await old.wait() == 0
    for old in brokers:
        await fleet.broker()
        old.send_signal(signal.SIGTERM)
        assert await old.wait() == 0
    restarted.set()
    await sending

    async def all_done() -> None:
        assert len(await fleet.done()) >= len(ids)

    await eventually(all_done, timeout=60)
    assert Counter(await fleet.done()) == Counter(ids)
    assert await bus.count("account", "failed") == await bus.count("broker", "failed") == 0
