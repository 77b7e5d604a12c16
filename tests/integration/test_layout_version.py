"""A process that meets a newer layout than it knows says so, stops, and has changed nothing."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from decimal import Decimal

import pytest

from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService, OrderSuccess
from hippo_messenger.catalogue.model import EventData
from hippo_messenger.errors import LayoutTooNewError, NotSentError
from hippo_messenger.job import HippoJob
from hippo_messenger.testing import eventually
from hippo_messenger.worker import HippoWorker
from tests.contract.bus import Bus, Recorder
from tests.integration.scripts import CALLS, Bench

ORDER = OrderSuccess(order_id="A-1", total=Decimal(1))
LOOKING = ("renew",)
"""What goes on all the same: a lock that is held is held in any layout."""
WRITING_NOTHING = ("standings",)


@pytest.mark.parametrize("script", [name for name in CALLS if name not in (*LOOKING, *WRITING_NOTHING)])
async def test_every_script_refuses_a_newer_layout_and_changes_nothing(
    redis_server: str, prefix: str, script: str
) -> None:
    bench = Bench(redis_server, prefix)
    try:
        bench.populate()
        call = CALLS[script](bench)
        bench.redis.set(bench.layout.version, 2)
        before = bench.space()
        with pytest.raises(LayoutTooNewError, match=r"expected layout 1 .* got 2: a newer .*update this one"):
            await bench.call(call.name, call.keys, call.arguments)
        assert bench.space() == before
    finally:
        await bench.close()


async def test_the_first_registration_says_which_layout_it_is(bus: Bus) -> None:
    await bus.broker()
    await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    assert await bus.redis.get(bus.layout.version) == b"1"
    assert await bus.redis.pttl(bus.layout.version) == -1


async def test_an_older_layout_is_raised_and_one_that_is_no_number_is_replaced(bus: Bus) -> None:
    await bus.broker()
    for found in ("0", "one", ""):
        await bus.redis.set(bus.layout.version, found)
        await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
        assert await bus.redis.get(bus.layout.version) == b"1"


async def test_a_messenger_does_not_send(bus: Bus) -> None:
    messenger = bus.messenger(HippoService.ORDER)
    await bus.redis.set(bus.layout.version, 2)
    with pytest.raises(NotSentError, match="got 2") as raised:
        await messenger.send(ORDER)
    assert isinstance(raised.value.__cause__, LayoutTooNewError)
    assert await bus.counts("broker") == {}


async def test_a_running_worker_stops(bus: Bus) -> None:
    await bus.broker()
    messenger = await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    worker = HippoWorker(messenger=messenger, processor=Recorder())
    running = asyncio.create_task(worker.run())
    await asyncio.sleep(0)
    await bus.redis.set(bus.layout.version, 2)
    await bus.redis.zadd(bus.queue("account").marker, {"0": 0})
    with pytest.raises(LayoutTooNewError):
        await running


async def test_a_worker_that_meets_it_while_it_stops_does_not_insist(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    """Guards against a loop that asked again without a pause until the end of the grace period."""
    release = asyncio.Semaphore(0)

    async def hold(job: HippoJob[EventData]) -> None:
        await release.acquire()

    account = bus.messenger(HippoService.ACCOUNT)
    worker = await bus.worker(account, hold, concurrency=2)
    await account.send_many([ORDER] * 2, notify_self=True)
    await bus.settled("account", active=2)
    stopping = asyncio.create_task(worker.stop(grace=2))
    await asyncio.sleep(0)

    await bus.redis.set(bus.layout.version, 2)
    release.release()
    await stopping

    assert caplog.text.count("settle: expected layout 1 under this prefix, got 2") == 1
    assert "Redis gives no answer" not in caplog.text
    assert "got 2" in worker.health.reason


async def test_a_worker_that_has_given_up_holds_its_jobs_no_longer_than_a_lock(bus: Bus) -> None:
    """It can't settle them any more; whoever knows the new layout finds them as stalled."""
    bus.settings = bus.settings.model_copy(update={"worker_lock": 1.0})
    never = asyncio.Event()

    async def hold(job: HippoJob[EventData]) -> None:
        await never.wait()

    account = bus.messenger(HippoService.ACCOUNT)
    await bus.worker(account, hold, concurrency=2)
    event_id = await account.send(ORDER, notify_self=True)
    await bus.settled("account", active=1)

    await bus.redis.set(bus.layout.version, 2)
    await bus.redis.zadd(bus.queue("account").marker, {"0": 0})

    async def unlocked() -> bool:
        return not await bus.redis.exists(bus.queue("account").job(event_id) + ":lock")

    await eventually(unlocked)


async def test_a_running_broker_stops_in_one_line_with_exit_code_1(redis_server: str, bus: Bus) -> None:
    environment = os.environ | {"HIPPO_REDIS_URL": redis_server, "HIPPO_PREFIX": bus.settings.prefix}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hippo_messenger", "broker", env=environment, stdout=PIPE, stderr=PIPE
    )
    messenger = bus.messenger(HippoService.ACCOUNT, [HippoEvent.ORDER_SUCCESS])
    await messenger.register(wait=True, timeout=30)
    await bus.redis.set(bus.layout.version, 2)
    await bus.redis.zadd(bus.queue("broker").marker, {"0": 0})
    out, err = await process.communicate()
    assert process.returncode == 1
    assert "hippo: expected layout 1 under this prefix, got 2" in err.decode()
    assert "Traceback" not in (out + err).decode()


async def test_the_layout_key_of_the_wrong_type_is_named(bus: Bus) -> None:
    messenger = bus.messenger(HippoService.ORDER)
    await bus.redis.rpush(bus.layout.version, "x")
    with pytest.raises(NotSentError, match=":layout holds a list, expected a string"):
        await messenger.send(ORDER)

    async def sent() -> None:
        await messenger.send(ORDER)

    await bus.redis.delete(bus.layout.version)
    await eventually(sent)
