"""Clocks that jump, Redis' own or a process': nothing is lost, nothing is routed twice, and no loop is stuck."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService
from hippo_messenger.catalogue.model import EventData
from hippo_messenger.errors import EmbeddedServerError
from hippo_messenger.job import HippoJob
from hippo_messenger.queues.embedded import server_program
from hippo_messenger.settings import Settings
from hippo_messenger.testing import eventually
from tests.conftest import missing, running
from tests.hostile.system import ORDER, SERVICE, System, envelope, job

pytestmark = pytest.mark.chaos

HOUR = 3600
DAY = 24 * HOUR
JUMPS = {"an hour forward": HOUR, "an hour back": -HOUR, "back to 1970": None, "a second back": -1}
"""None is as far as it goes."""


def faketime_library() -> Path:
    """What a process is started with that is to have a clock of its own."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        missing("libfaketime (the package faketime)")
    return found[0]


@dataclass
class Clock:
    """The clock of one server."""

    url: str
    file: Path

    def set_off(self, seconds: float) -> None:
        """From now on it is so far from everybody else's."""
        fresh = self.file.with_suffix(".fresh")
        fresh.write_text(f"{seconds:+.0f}\n")
        fresh.rename(self.file)

    def jump(self, seconds: float | None) -> None:
        self.set_off(24 * HOUR - time.time() if seconds is None else seconds)


@pytest.fixture
def clock(tmp_path: Path) -> Iterator[Clock]:
    """A server whose clock can be set: the embedded one, since jemalloc, as in Debian's, can't be with libfaketime."""
    library = faketime_library()
    try:
        server = server_program()
    except EmbeddedServerError as error:
        missing(str(error))
        raise
    file = tmp_path / "clock"
    variables = (
        f"LD_PRELOAD={library} FAKETIME_TIMESTAMP_FILE={file} FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1"
    )
    starter = tmp_path / "server-with-a-clock"
    starter.write_text(f'#!/bin/sh\nexec env {variables} {server} "$@"\n')
    starter.chmod(0o755)
    file.write_text("+0\n")
    with running(str(starter), tmp_path) as port:
        yield Clock(f"redis://127.0.0.1:{port}/0", file)


@pytest.fixture
async def system(clock: Clock, settings: Settings) -> AsyncIterator[System]:
    system = System(clock.url, settings)
    await system.start()
    try:
        yield system
        system.check_alive()
    finally:
        await system.close()


@pytest.mark.parametrize("jump", JUMPS)
async def test_events_under_way_while_the_clock_jumps_are_routed_once_and_processed(
    system: System, clock: Clock, jump: str
) -> None:
    sent: list[str] = []
    for number in range(300):
        sent.append(await system.sender.send(ORDER))
        if number == 100:
            clock.jump(JUMPS[jump])
        if number == 200:
            clock.set_off(0)

    async def processed() -> None:
        assert set(system.recorder.ids) == set(sent)

    await eventually(processed)
    await system.drained()
    assert len(system.watcher.routes) == len(sent)


@pytest.mark.parametrize("jump", JUMPS)
async def test_what_is_sent_after_a_jump_goes_all_the_way(system: System, clock: Clock, jump: str) -> None:
    clock.jump(JUMPS[jump])
    for _ in range(3):
        await system.send_and_receive()
    await system.drained()


@pytest.mark.parametrize("jump", JUMPS)
async def test_a_registration_goes_live_after_a_jump(system: System, clock: Clock, jump: str) -> None:
    clock.jump(JUMPS[jump])
    shipping = system.bus.messenger(HippoService.SHIPPING, [HippoEvent.ORDER_SUCCESS])
    await shipping.register(wait=True)
    shipping.set_listeners([])
    await shipping.register(wait=True)
    await system.send_and_receive()


async def test_a_delayed_event_is_due_when_the_clock_has_jumped_over_its_time(system: System, clock: Clock) -> None:
    event_id = await system.sender.send(ORDER, delay=HOUR / 2, notify_self=True)
    clock.jump(HOUR)

    async def due() -> None:
        assert event_id in system.recorder.ids

    await eventually(due)
    await system.drained()


async def test_a_delayed_event_waits_while_the_clock_is_back_and_is_not_lost(system: System, clock: Clock) -> None:
    event_id = await system.sender.send(ORDER, delay=0.5)
    clock.jump(-HOUR)
    await system.send_and_receive()
    assert await system.bus.count("broker", "delayed") == 1
    clock.set_off(0)

    async def due() -> None:
        assert event_id in system.recorder.ids

    await eventually(due)
    await system.drained()
    assert Counter(system.recorder.ids)[event_id] == 1


@pytest.mark.parametrize("jump", ["an hour forward", "an hour back", "back to 1970"])
async def test_how_long_an_event_counts_is_a_matter_of_redis_clock(system: System, clock: Clock, jump: str) -> None:
    clock.jump(JUMPS[jump])
    lasting = await system.sender.send(ORDER, expires=60)
    for queue, event_id in (("broker", "past-for-redis-0001"), (SERVICE, "past-for-redis-0002")):
        seconds, _ = await system.redis.time()
        past = datetime.fromtimestamp(seconds, UTC) - timedelta(seconds=1)
        await system.put(queue, event_id, job(envelope(event_id, expirytime=past.isoformat())))

    async def processed() -> None:
        assert lasting in system.recorder.ids

    await eventually(processed)
    await system.drained()
    for queue, event_id in (("broker", "past-for-redis-0001"), (SERVICE, "past-for-redis-0002")):
        state, result = await system.end_of(queue, event_id)
        assert (state, list(json.loads(result))) == ("completed", ["expired"])
    assert system.recorder.ids == [lasting]


class Slow:
    """Holds a job until it is told to let go."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.go = asyncio.Event()

    async def __call__(self, job: HippoJob[EventData]) -> None:
        self.started.append(job.id)
        await self.go.wait()


@pytest.mark.parametrize("jump", JUMPS)
async def test_a_job_in_hand_while_the_clock_jumps_ends_and_is_not_lost(
    clock: Clock, settings: Settings, jump: str
) -> None:
    system = System(clock.url, settings)
    slow = Slow()
    try:
        await system.start(processor=slow)
        event_id = await system.sender.send(ORDER)

        async def started() -> None:
            assert event_id in slow.started

        await eventually(started)
        clock.jump(JUMPS[jump])
        if jump == "an hour forward":  # the lock is over: another look finds the job, and it is run again

            async def started_again() -> None:
                assert slow.started.count(event_id) == 2

            await eventually(started_again)
        slow.go.set()
        await system.drained()
        assert await system.end_of(SERVICE, event_id) == ("completed", "null")
        system.check_alive()
    finally:
        await system.close()


@pytest.mark.parametrize("jump", JUMPS)
async def test_the_jobs_of_a_worker_that_dies_after_a_jump_are_recovered(
    system: System, clock: Clock, jump: str
) -> None:
    await system.send_and_receive()
    clock.jump(JUMPS[jump])
    for queue in ("broker", SERVICE):  # as one leaves it that took it and was killed, when its lock is over
        await system.put(queue, "orphan", job(), place="active")
    await system.drained()
    assert [(await system.end_of(queue, "orphan"))[0] for queue in ("broker", SERVICE)] == ["completed"] * 2


@pytest.mark.parametrize("jump", ["an hour back", "back to 1970", "a second back"])
async def test_a_second_copy_is_known_although_the_clock_was_set_back(system: System, clock: Clock, jump: str) -> None:
    await system.put("broker", "first", job())
    await system.send_and_receive()
    await system.drained()
    clock.jump(JUMPS[jump])
    await system.redis.delete(system.key(SERVICE, "hostile-event-0001"))
    for number in range(3):
        await system.put("broker", f"copy-{number}", job())
    await system.send_and_receive()
    await system.drained()
    ends = [await system.end_of("broker", f"copy-{number}") for number in range(3)]
    assert ends == [("completed", '{"duplicate":true}')] * 3
    assert system.recorder.ids.count("hostile-event-0001") == 1


async def test_completed_jobs_are_kept_within_bounds_after_a_jump(clock: Clock, settings: Settings) -> None:
    system = System(clock.url, settings.model_copy(update={"completed_count": 5}))
    try:
        await system.start()
        for seconds in (0, HOUR, 0, -HOUR, 0):
            clock.set_off(seconds)
            for _ in range(7):
                await system.send_and_receive()
            await system.drained()
            for queue in ("broker", SERVICE):
                assert await system.bus.count(queue, "completed") <= 5
    finally:
        await system.close()


@pytest.mark.parametrize("jump", ["an hour forward", "an hour back", "back to 1970"])
async def test_the_tick_of_a_registration_goes_on_after_a_jump(clock: Clock, settings: Settings, jump: str) -> None:
    system = System(clock.url, settings.model_copy(update={"registration_interval": 0.5, "presence_interval": 600.0}))
    registry = system.bus.layout.registry
    try:
        await system.start()
        await eventually(lambda: ticked(system, 1))
        clock.jump(JUMPS[jump])
        if jump != "an hour forward":
            # A tick of this process' clock can't come while Redis' is an hour behind; when they agree again, it does.
            await system.send_and_receive()
            clock.set_off(0)
        before = await ticks(system)
        await eventually(lambda: ticked(system, before + 2))
        await system.redis.hset(registry, SERVICE, "garbage")

        async def repaired() -> None:
            assert await system.redis.hget(registry, SERVICE) != b"garbage"

        await eventually(repaired)
        assert await system.redis.zcard(system.bus.queue("broker").scheduler) == 1
    finally:
        await system.close()


async def ticks(system: System) -> int:
    """How many ticks have come."""
    members = await system.redis.zrange(system.key("broker", "completed"), 0, -1)
    return len([member for member in members if member.startswith(b"repeat:")])


async def ticked(system: System, times: int) -> None:
    assert await ticks(system) >= times


async def test_a_tick_that_was_put_off_when_the_clock_was_set_back_is_made_anew(
    clock: Clock, settings: Settings
) -> None:
    system = System(clock.url, settings.model_copy(update={"registration_interval": 0.5}))
    clock.set_off(HOUR)
    try:
        await system.start()
        scheduler = system.bus.queue("broker").scheduler
        [(member, when)] = await system.redis.zrange(scheduler, 0, -1, withscores=True)
        # What a clock left behind that stood an hour ahead when the tick was made.
        await system.redis.zadd(scheduler, {member: when + HOUR * 1000})
        await system.redis.delete(system.key("broker", "delayed"))
        clock.set_off(0)

        await eventually(lambda: ticked(system, 2))
    finally:
        await system.close()


async def test_a_scheduler_that_somebody_deleted_is_made_anew(clock: Clock, settings: Settings) -> None:
    system = System(clock.url, settings.model_copy(update={"registration_interval": 0.5}))
    try:
        await system.start()
        scheduler = system.bus.queue("broker").scheduler
        await system.redis.delete(scheduler, system.key("broker", "delayed"))
        before = await ticks(system)

        await eventually(lambda: ticked(system, before + 2))
        assert await system.redis.zcard(scheduler) == 1
    finally:
        await system.close()


SKEWED = """
import asyncio, os
from decimal import Decimal
from hippo_messenger import HippoBroker, HippoEvent, HippoMessenger, HippoService, HippoWorker, OrderSuccess, Settings

settings = Settings(prefix=os.environ["PREFIX"], block_timeout=1, unknown_type_delay=0.1, unknown_type_patience=60)


async def main() -> None:
    got = []

    async def processor(job):
        got.append(job.id)

    url = os.environ["REDIS"]
    account = HippoMessenger(
        service_name=HippoService.ACCOUNT,
        listens_to=[HippoEvent.ORDER_SUCCESS],
        redis_connection=url,
        settings=settings,
    )
    order = HippoMessenger(service_name=HippoService.ORDER, redis_connection=url, settings=settings)
    knows_nothing = HippoWorker(messenger=account)
    knows_nothing.on(*[__import__("hippo_messenger").ConfigChange])(processor)
    async with HippoBroker(redis_connection=url, settings=settings), account, order:
        await account.register(wait=True)
        ids = [await order.send(OrderSuccess(order_id="A", total=Decimal(1)), delay=delay) for delay in (0, 0.2, 0)]
        async with knows_nothing:
            await asyncio.sleep(0.5)
        async with HippoWorker(messenger=account, processor=processor):
            async with asyncio.timeout(20):
                while sorted(got) != sorted(ids):
                    await asyncio.sleep(0.01)
    print("done")


asyncio.run(main())
"""


@pytest.mark.parametrize("seconds", [DAY, -DAY])
async def test_processes_whose_clock_is_a_day_off_do_all_that_others_do(
    clock: Clock, prefix: str, seconds: int
) -> None:
    """Nothing on an event's way is decided by their clocks: delays, and how long an unknown type is waited for."""
    variables = {
        "LD_PRELOAD": str(faketime_library()),
        "FAKETIME": f"{seconds:+}",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "PREFIX": prefix,
        "REDIS": clock.url,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        SKEWED,
        env=dict(os.environ) | variables,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complaint = await process.communicate()
    assert (process.returncode, said) == (0, b"done\n"), complaint.decode()
