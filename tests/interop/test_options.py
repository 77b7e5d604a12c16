"""Options that somebody gives a job of a service queue with BullMQ: the job's count, not the worker's."""

from __future__ import annotations

import pytest

from tests.contract.bus import Bus
from tests.interop.story import Story
from tests.interop.tools import Tools

pytestmark = pytest.mark.interop


async def test_each_job_is_kept_as_its_own_options_say(bus: Bus, tools: Tools) -> None:
    """By number and by age, completed and failed: the job's options, whatever the worker's own are."""
    story = await Story.begin(bus)
    await bus.worker(story.account, story.desk, concurrency=1)
    await story.send("order-0")
    await story.until(completed=1)
    envelope = (await tools.look("account", story.ids["order-0"]))["data"]

    async def add(name: str, **options: object) -> None:
        event = {**envelope, "id": f"{name}-0123456789", "data": {**envelope["data"], "orderId": name}}
        await tools.queue("account", "add", "ORDER_SUCCESS", event, options)

    await add("order-1", removeOnComplete=False)
    await add("order-2", removeOnComplete={"age": 3600})
    await story.until(completed=3)
    await add("order-3", removeOnComplete=True)
    await add("dead-1", removeOnFail=True)
    await add("dead-2")
    await story.until(completed=3, failed=1)
    await add("order-4", removeOnComplete={"count": 2})
    await story.until(completed=2, failed=1)
    kept = await tools.queue("account", "getJobs", ["completed"], 0, -1, False)
    assert [job["data"]["data"]["orderId"] for job in kept] == ["order-4", "order-2"]
    assert story.desk.done == ["order-0", "order-1", "order-2", "order-3", "order-4"]


async def test_a_log_keeps_as_many_lines_as_the_options_of_its_job_say(bus: Bus, tools: Tools) -> None:
    story = await Story.begin(bus)
    story.desk.go_on.set()
    await bus.worker(story.account, story.desk)
    await story.send("order-0")
    await story.until(completed=1)
    envelope = (await tools.look("account", story.ids["order-0"]))["data"]
    event = {**envelope, "id": "hold-0123456789ab", "data": {**envelope["data"], "orderId": "hold"}}
    added = await tools.queue("account", "add", "ORDER_SUCCESS", event, {"keepLogs": 1, "delay": 3_600_000})
    await tools.job("account", added["id"], "log", "from the tool")
    await tools.job("account", added["id"], "promote")
    await story.until(completed=2)
    assert await tools.queue("account", "getJobLogs", added["id"]) == {"logs": ["holding hold"], "count": 1}


async def test_as_many_traces_are_kept_as_the_options_of_the_job_say(bus: Bus, tools: Tools) -> None:
    bus.settings = bus.settings.model_copy(update={"breaker_attempts": 0})  # every attempt fails on purpose
    story = await Story.begin(bus)
    await bus.worker(story.account, story.desk)
    await story.send("order-0")
    await story.until(completed=1)
    envelope = (await tools.look("account", story.ids["order-0"]))["data"]
    kept: dict[str, list[str]] = {}
    for name, options in {"again-1": {"stackTraceLimit": 2}, "again-2": {"stackTraceLimit": 0}, "again-3": {}}.items():
        event = {**envelope, "id": f"{name}-0123456789", "data": {**envelope["data"], "orderId": name}}
        added = await tools.queue("account", "add", "ORDER_SUCCESS", event, {"attempts": 12, "backoff": 0, **options})
        await story.until(completed=1, failed=len(kept) + 1)
        kept[name] = (await tools.look("account", added["id"]))["stacktrace"]
    assert {name: len(traces) for name, traces in kept.items()} == {"again-1": 2, "again-2": 0, "again-3": 10}
