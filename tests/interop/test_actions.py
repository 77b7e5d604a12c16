"""What BullMQ's actions, from Node and Python, do to jobs of ours: the counts are BullMQ's, and our work goes on."""

from __future__ import annotations

import pytest

from hippo_messenger.catalogue.golden_hippo import HippoService
from hippo_messenger.queues.layout import BROKER_QUEUE
from hippo_messenger.retry import RetryPolicy
from hippo_messenger.testing import eventually
from tests.contract.bus import Bus
from tests.interop.story import ALL_STATES, EMPTY, Story
from tests.interop.tools import NodeTools, Refused, Tools

pytestmark = pytest.mark.interop

COUNTS = {state: len(names) for state, names in ALL_STATES.items()}
TICK = {"delayed": 1}
"""The next tick of the one registration; it always waits in the broker queue."""


async def counts(tools: Tools, queue: str = "account") -> dict[str, int]:
    """By state, without the states that hold nothing."""
    found: dict[str, int] = await tools.queue(queue, "getJobCounts")
    return {state: count for state, count in found.items() if count}


def without(**fewer: int) -> dict[str, int]:
    """What is left of the jobs in all states."""
    left = {state: count - fewer.get(state, 0) for state, count in COUNTS.items()}
    return {state: count for state, count in left.items() if count}


async def all_done(story: Story, *names: str) -> None:
    """Let everything go on, and wait until exactly these orders have been processed."""
    story.desk.go_on.set()

    async def check() -> None:
        assert sorted(story.desk.done) == sorted(names)

    await eventually(check)


# --- one job ---


async def test_a_dead_letter_is_retried(bus: Bus, tools: Tools) -> None:
    story = await Story.begin(bus)
    await bus.worker(story.account, story.desk)
    await story.send("dead-0", "dead-1")
    await story.until(failed=2)
    story.desk.fails = False

    await tools.job("account", story.ids["dead-0"], "retry")

    await story.until(completed=1, failed=1)
    assert await counts(tools) == {"completed": 1, "failed": 1}
    job = await tools.look("account", story.ids["dead-0"])
    assert (job["state"], job["returnvalue"], job["attemptsMade"]) == ("completed", {"order": "dead-0"}, 2)
    assert story.desk.began == ["dead-0", "dead-1", "dead-0"]
    with pytest.raises(Refused):
        await tools.job("account", story.ids["dead-0"], "retry")


async def test_a_completed_job_is_done_once_more_where_somebody_asks_for_it(bus: Bus, tools: Tools) -> None:
    story = await Story.begin(bus)
    await bus.worker(story.account, story.desk)
    await story.send("order-0")
    await story.until(completed=1)

    await tools.job("account", story.ids["order-0"], "retry", "completed")

    await all_done(story, "order-0", "order-0")
    await story.until(completed=1)


async def test_jobs_are_removed_from_every_state_but_not_from_the_worker_that_has_them(bus: Bus, tools: Tools) -> None:
    story = await Story.begin(bus)
    await story.in_all_states()
    for name in ("first", "dead", "again", "third", "low"):
        await tools.job("account", story.ids[name], "remove")
    with pytest.raises(Refused, match="locked"):
        await tools.job("account", story.ids["hold"], "remove")

    assert await counts(tools) == without(completed=1, failed=1, delayed=1, waiting=1, prioritized=1)
    assert await tools.queue("account", "getJobState", story.ids["third"]) == "unknown"
    await all_done(story, "first", "second", "hold", "fourth", "fifth", "urgent")
    await story.until(completed=5)


async def test_a_delayed_event_is_promoted_in_the_broker_queue(bus: Bus, tools: Tools) -> None:
    story = await Story.begin(bus)
    await bus.worker(story.account, story.desk)
    await story.send("order-0", "order-1", delay=3600)
    assert await counts(tools, BROKER_QUEUE) == {"completed": 1, "delayed": 3}

    await tools.job(BROKER_QUEUE, story.ids["order-0"], "promote")

    await all_done(story, "order-0")
    await story.routed(2)
    assert await counts(tools, BROKER_QUEUE) == {"completed": 2, "delayed": 2}
    with pytest.raises(Refused):
        await tools.job(BROKER_QUEUE, story.ids["order-0"], "promote")


async def test_a_retry_is_promoted(bus: Bus, tools: Tools) -> None:
    story = await Story.begin(bus)
    await bus.worker(story.account, story.desk)
    await story.send("again")
    await story.until(delayed=1)
    story.desk.fails = False

    await tools.job("account", story.ids["again"], "promote")

    await story.until(completed=1)
    assert (await tools.look("account", story.ids["again"]))["attemptsMade"] == 2


async def test_a_change_of_priority_changes_who_is_next(bus: Bus, tools: Tools) -> None:
    story = await Story.begin(bus)
    await story.in_all_states()
    await tools.job("account", story.ids["fifth"], "changePriority", {"priority": 1})
    await tools.job("account", story.ids["low"], "changePriority", {"priority": 0, "lifo": True})

    assert await counts(tools) == COUNTS
    await all_done(story, "first", "second", "hold", "low", "third", "fourth", "urgent", "fifth")
    assert story.desk.done == ["first", "second", "hold", "low", "third", "fourth", "urgent", "fifth"]


async def test_a_change_of_delay_is_followed(bus: Bus, node: NodeTools) -> None:
    story = await Story.begin(bus)
    await bus.worker(story.account, story.desk)
    await story.send("order-0", delay=3600)

    await node.job(BROKER_QUEUE, story.ids["order-0"], "changeDelay", 50)

    await all_done(story, "order-0")
    await story.routed(2)


async def test_changed_data_is_what_the_processor_gets(bus: Bus, tools: Tools) -> None:
    story = await Story.begin(bus)
    await story.send("order-0")
    await story.until(wait=1)
    data = (await tools.look("account", story.ids["order-0"]))["data"]
    data["data"]["orderId"] = "order-mended"

    await tools.job("account", story.ids["order-0"], "updateData", data)

    await bus.worker(story.account, story.desk)
    await all_done(story, "order-mended")


@pytest.mark.parametrize("attempts", [1, 3])
async def test_a_job_that_is_failed_by_hand_while_it_runs_stands_in_one_state_only(
    bus: Bus, node: NodeTools, attempts: int
) -> None:
    """Guards against a job that was completed beside that: it stood in two sets, and was counted twice."""
    story = await Story.begin(bus, retry=RetryPolicy(attempts=attempts, delay=3600, jitter=0))
    await bus.worker(story.account, story.desk)
    await story.send("hold")
    await story.until(active=1)

    await node.job("account", story.ids["hold"], "moveToFailed", {"message": "by hand"}, "0")
    moved = "failed" if attempts == 1 else "delayed"
    assert await counts(node) == {moved: 1}
    await all_done(story, "hold")

    await story.send("order-0")
    await story.until(completed=1, **{moved: 1})
    assert (await node.look("account", story.ids["hold"]))["failedReason"] == "by hand"
    await node.job("account", story.ids["hold"], *(["retry"] if attempts == 1 else ["promote"]))
    await story.until(completed=2)


# --- the whole queue ---


async def test_all_dead_letters_are_retried(bus: Bus, tools: Tools) -> None:
    story = await Story.begin(bus)
    await bus.worker(story.account, story.desk)
    names = [f"dead-{number}" for number in range(30)]
    await story.send(*names)
    await story.until(failed=30)
    story.desk.fails = False

    await tools.queue("account", "retryJobs", {"state": "failed"})

    await all_done(story, *names)
    await story.until(completed=30)
    assert await counts(tools) == {"completed": 30}


async def test_all_delayed_events_are_promoted(bus: Bus, tools: Tools) -> None:
    story = await Story.begin(bus)
    await bus.worker(story.account, story.desk)
    names = [f"order-{number}" for number in range(30)]
    await story.send(*names, delay=3600)

    await tools.queue(BROKER_QUEUE, "promoteJobs", {})

    await all_done(story, *names)
    await story.routed(32)  # a registration, the events, and the tick, which was promoted too

    async def next_tick() -> None:
        assert await counts(tools, BROKER_QUEUE) == {"completed": 32, **TICK}
        assert (await tools.queue(BROKER_QUEUE, "getJobScheduler", "hippo.register.account"))["key"]

    await eventually(next_tick)


@pytest.mark.parametrize("queue", ["account", BROKER_QUEUE])
async def test_a_pause_holds_and_a_resume_wakes(bus: Bus, tools: Tools, queue: str) -> None:
    story = await Story.begin(bus)
    await bus.worker(story.account, story.desk, concurrency=2)
    assert not await tools.queue(queue, "isPaused")
    await tools.queue(queue, "pause")
    assert await tools.queue(queue, "isPaused")
    names = [f"order-{number}" for number in range(10)]
    await story.send(*names)
    if queue == "account":
        await story.routed(11)

    held = await counts(tools, queue)
    assert held == ({"waiting": 10} if queue == "account" else {"completed": 1, "waiting": 10, **TICK})
    assert story.desk.began == []
    await tools.queue(queue, "resume")
    await all_done(story, *names)
    await story.until(completed=10)


@pytest.mark.parametrize(
    ("state", "cleaned"),
    [
        ("completed", {"completed": 2}),
        ("failed", {"failed": 1}),
        ("delayed", {"delayed": 1}),
        ("wait", {"waiting": 3}),
        ("prioritized", {"prioritized": 2}),
        ("active", {}),
    ],
)
async def test_a_state_is_cleaned(bus: Bus, node: NodeTools, state: str, cleaned: dict[str, int]) -> None:
    story = await Story.begin(bus)
    await story.in_all_states()

    removed = await node.queue("account", "clean", 0, 1000, state)

    assert len(removed) == sum(cleaned.values())
    assert await counts(node) == without(**cleaned)
    story.desk.go_on.set()
    waiting = 3 - cleaned.get("waiting", 0) + 2 - cleaned.get("prioritized", 0)
    left = {"completed": 2 - cleaned.get("completed", 0) + 1 + waiting}
    left |= {kind: 1 - cleaned.get(kind, 0) for kind in ("failed", "delayed")}
    await story.until(**{kind: count for kind, count in left.items() if count})


async def test_only_so_many_are_cleaned_as_asked_for(bus: Bus, tools: Tools) -> None:
    story = await Story.begin(bus)
    await bus.worker(story.account, story.desk)
    await story.send(*(f"order-{number}" for number in range(6)))
    await story.until(completed=6)

    await tools.queue("account", "clean", 0, 4, "completed")
    assert await counts(tools) == {"completed": 2}
    await tools.queue("account", "clean", 3_600_000, 1000, "completed")
    assert await counts(tools) == {"completed": 2}


async def test_a_drain_empties_the_line_and_no_more(bus: Bus, tools: Tools) -> None:
    story = await Story.begin(bus)
    await story.in_all_states()

    await tools.queue("account", "drain")
    assert await counts(tools) == without(waiting=3, prioritized=2)
    await tools.queue("account", "drain", True)
    assert await counts(tools) == without(waiting=3, prioritized=2, delayed=1)

    await all_done(story, "first", "second", "hold")
    await story.send("after")
    await all_done(story, "first", "second", "hold", "after")


async def test_a_drain_of_the_broker_queue_leaves_the_registrations_alone(bus: Bus, tools: Tools) -> None:
    story = await Story.begin(bus)
    await bus.worker(story.account, story.desk)
    await story.send("order-0", "order-1", delay=3600)

    await tools.queue(BROKER_QUEUE, "drain", True)
    await tools.queue(BROKER_QUEUE, "clean", 0, 1000, "delayed")

    assert await counts(tools, BROKER_QUEUE) == {"completed": 1, **TICK}
    assert await tools.queue(BROKER_QUEUE, "getJobSchedulersCount") == 1
    await tools.queue(BROKER_QUEUE, "promoteJobs", {})
    await story.routed(2)
    await story.send("after")
    await all_done(story, "after")


async def test_an_obliterated_service_queue_begins_anew_and_its_worker_goes_on(bus: Bus, tools: Tools) -> None:
    story = await Story.begin(bus)
    await story.in_all_states()
    await tools.queue("account", "pause")
    with pytest.raises(Refused, match="active jobs"):
        await tools.queue("account", "obliterate", {"force": False})
    assert await counts(tools) == COUNTS

    await tools.queue("account", "obliterate", {"force": True})

    assert await tools.queue("account", "getJobCounts") == EMPTY
    base = bus.queue("account").base
    left = {key.decode().removeprefix(base) async for key in bus.redis.scan_iter(base.replace("{", "[{]") + "*")}
    assert left <= {"meta", "stalled-check"}  # a worker that runs writes these by itself
    story.desk.go_on.set()
    await story.send("after")
    await all_done(story, "first", "second", "hold", "after")
    await story.until(completed=1)


async def test_an_obliterated_broker_queue_costs_its_jobs_and_no_route(bus: Bus, tools: Tools) -> None:
    story = await Story.begin(bus)
    await bus.worker(story.account, story.desk)
    await story.send("order-0", delay=3600)
    await tools.queue(BROKER_QUEUE, "pause")

    await tools.queue(BROKER_QUEUE, "obliterate", {"force": True})

    assert await tools.queue(BROKER_QUEUE, "getJobCounts") == EMPTY
    await story.send("after")
    await all_done(story, "after")
    await story.account.register(wait=True)  # its number is lower than that of the one that stands
    assert await tools.queue(BROKER_QUEUE, "getJobSchedulersCount") == 1
    await bus.listener(HippoService.SHIPPING, *story.account.listeners)
    await story.send("to both")
    await bus.settled("shipping", wait=1)


async def test_a_hunt_for_orphans_takes_no_job_of_ours(bus: Bus, node: NodeTools) -> None:
    """BullMQ 6.7 takes the counter of failed jobs (`metrics:failed`) for what is left of a job called `metrics`."""
    story = await Story.begin(bus)
    await story.in_all_states()
    await story.send("later", delay=3600)
    before = await keys(bus)

    for queue in ("account", BROKER_QUEUE):
        await node.queue(queue, "removeOrphanedJobs")

    assert before - await keys(bus) == {bus.queue("account").base + "metrics:failed"}
    assert await counts(node) == COUNTS
    await all_done(story, *story.desk.done, "hold", "third", "fourth", "fifth", "urgent", "low")


async def keys(bus: Bus) -> set[str]:
    """Every key under the prefix, without those that go by themselves."""
    found = {key.decode() async for key in bus.redis.scan_iter(f"{bus.settings.prefix.replace('{', '[{]')}*")}
    passing = (":lock", ":marker", ":stalled", ":stalled-check")
    return {key for key in found if not key.endswith(passing) and ":seen:" not in key}


async def test_an_event_that_a_tool_adds_by_its_own_number_is_handled(bus: Bus, tools: Tools) -> None:
    """A job's id that BullMQ gave is no event id: the envelope's counts."""
    story = await Story.begin(bus)
    await bus.worker(story.account, story.desk)
    await story.send("order-0")
    await story.routed(2)
    envelope = (await tools.look(BROKER_QUEUE, story.ids["order-0"]))["data"]
    again = {**envelope, "id": "added-by-hand-0001", "data": {**envelope["data"], "orderId": "order-1"}}

    await tools.queue(BROKER_QUEUE, "add", "ORDER_SUCCESS", again)
    await tools.queue(BROKER_QUEUE, "add", "ORDER_SUCCESS", envelope)  # as `duplicate` of a dashboard does

    await story.routed(4)
    await all_done(story, "order-0", "order-1")
    [duplicate] = await tools.queue(BROKER_QUEUE, "getJobs", ["completed"], 0, 0, False)
    assert duplicate["returnvalue"] == {"duplicate": True}
