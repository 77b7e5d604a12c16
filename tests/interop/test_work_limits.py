"""Stock Node workers and ours on one queue keep a rate limit and a global concurrency together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count, islice
from pathlib import Path

import pytest

from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService
from hippo_messenger.limits import RateLimit, WorkLimits
from tests.contract.bus import Bus
from tests.interop.story import ByName, order
from tests.interop.test_shared_queue import Crew, Entry, failures_of, send
from tests.interop.tools import NodeTools

RATE = RateLimit(25, 0.4)
LIMITS = WorkLimits(RATE, concurrency=4)
JOBS = 160
CLOCK_GAP = 10


def at_a_time(entries: Sequence[Entry]) -> list[int]:
    """How many jobs were in hand after each line that the workers have written into one file."""
    counts = [0]
    for entry in entries:
        counts.append(counts[-1] + (1 if entry.what == "began" else -1))
    return counts


async def taken_at(bus: Bus) -> list[int]:
    """When each job was taken, in ms by Redis' clock: the script that counts it towards the limit also says so."""
    entries = await bus.redis.xrange(bus.queue("account").base + "events")
    return sorted(int(name.split(b"-")[0]) for name, fields in entries if fields[b"event"] == b"active")


def assert_pace(times: Sequence[int], limit: RateLimit) -> None:
    """No window took more than the limit allows: job number 25k stands in window k or later.

    What is written in the stream is a moment later than what the limiter's clock said when its script began.
    """
    window = limit.period * 1000
    for number, time in enumerate(times[:: limit.jobs]):
        assert time - times[0] >= number * (window - CLOCK_GAP), (number, times)


@pytest.mark.interop
async def test_stock_workers_and_ours_keep_rate_and_concurrency_together(
    bus: Bus, node: NodeTools, tmp_path: Path
) -> None:
    await bus.broker()
    account = await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    await account.set_work_limits(LIMITS)
    assert await node.queue("account", "getGlobalConcurrency") == 4
    crew = Crew(bus, tmp_path / "log")
    try:
        await crew.start("node-1", "node-2", "python-1", "python-2")
        await send(
            bus.messenger(HippoService.ORDER), islice((number for number in count() if not failures_of(number)), JOBS)
        )
        await crew.done(JOBS)
        await bus.settled("account", completed=JOBS)
    finally:
        await crew.kill_all()

    entries = crew.entries()
    counts = at_a_time(entries)
    assert counts[-1] == 0
    assert 1 < max(counts) <= 4
    times = await taken_at(bus)
    assert len(times) == JOBS
    assert_pace(times, RATE)
    assert {entry.who.split("-")[0] for entry in entries} == {"node", "python"}


@pytest.mark.interop
async def test_limits_that_node_has_set_are_ours_and_lifting_ours_is_seen_by_node(bus: Bus, node: NodeTools) -> None:
    await bus.broker()
    account = await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    await node.queue("account", "setGlobalConcurrency", 1)
    worker = await bus.worker(account, hold := ByName(), concurrency=10)
    await bus.messenger(HippoService.ORDER).send_many([order("hold")] * 3)
    await bus.settled("account", wait=2, active=1)

    await account.set_work_limits(WorkLimits())

    await bus.settled("account", active=3)
    assert await node.queue("account", "getGlobalConcurrency") is None
    hold.go_on.set()
    await bus.settled("account", completed=3)
    await worker.stop()
