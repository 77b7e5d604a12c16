"""What BullMQ's getters say, in Node and in Python, about queues that our code fills and works."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService
from hippo_messenger.catalogue.model import EventData
from hippo_messenger.job import HippoJob
from hippo_messenger.observer import Observer
from hippo_messenger.queues.call import Caller
from hippo_messenger.queues.delivery import Order
from hippo_messenger.queues.layout import BROKER_QUEUE
from hippo_messenger.queues.queue import Queue
from hippo_messenger.retry import RetryPolicy
from hippo_messenger.testing import eventually
from tests.contract.bus import Bus, Recorder
from tests.interop.story import ALL_STATES, EMPTY, ByName, Story, order
from tests.interop.tools import NodeTools, PythonTools, Tools

pytestmark = pytest.mark.interop

COUNTS = {state: len(names) for state, names in ALL_STATES.items()}


def orders(jobs: list[dict[str, Any]]) -> list[str]:
    return [job["data"]["data"]["orderId"] for job in jobs]


# --- jobs ---


async def test_every_state_is_counted_and_listed_as_bullmq_has_it(bus: Bus, tools: Tools) -> None:
    story = await Story.begin(bus)
    await story.in_all_states()

    assert await tools.queue("account", "getJobCounts") == {**EMPTY, **COUNTS}
    for state, names in ALL_STATES.items():
        jobs = await tools.queue("account", "getJobs", [state], 0, -1, True)
        assert sorted(orders(jobs)) == sorted(names), state
        assert [job["id"] for job in jobs] == [story.ids[name] for name in orders(jobs)], state
        for name in names:
            assert await tools.queue("account", "getJobState", story.ids[name]) == state
            assert (await tools.look("account", story.ids[name]))["state"] == state
    assert await tools.queue("account", "getJobState", "0" * 32) == "unknown"


async def test_lists_come_in_bullmqs_order_and_in_pages(bus: Bus, tools: Tools) -> None:
    story = await Story.begin(bus)
    await story.in_all_states()

    async def listed(state: str, start: int, end: int, *, ascending: bool) -> list[str]:
        return orders(await tools.queue("account", "getJobs", [state], start, end, ascending))

    assert await listed("waiting", 0, -1, ascending=True) == ["third", "fourth", "fifth"]
    assert await listed("waiting", 0, 1, ascending=False) == ["fifth", "fourth"]
    assert await listed("waiting", 1, 2, ascending=True) == ["fourth", "fifth"]
    assert await listed("completed", 0, -1, ascending=True) == ["first", "second"]
    assert await listed("completed", 0, 0, ascending=False) == ["second"]
    assert await listed("prioritized", 0, -1, ascending=True) == ["urgent", "low"]
    assert await tools.queue("account", "getCountsPerPriority", [0, 1, 2, 3]) == {"0": 3, "1": 1, "2": 1, "3": 0}


async def test_a_job_is_shown_with_all_that_happened_to_it(bus: Bus, tools: Tools) -> None:
    story = await Story.begin(bus, retry=RetryPolicy(attempts=2, delay=3600, backoff="fixed", jitter=0))
    await story.in_all_states()

    done = await tools.look("account", story.ids["first"])
    assert (done["name"], done["returnvalue"], done["attemptsMade"]) == ("ORDER_SUCCESS", {"order": "first"}, 1)
    assert done["data"]["source"] == "order"
    assert done["timestamp"] <= done["processedOn"] <= done["finishedOn"]
    assert {name: done["opts"][name] for name in ("attempts", "backoff", "removeOnComplete")} == {
        "attempts": 2,
        "backoff": {"type": "fixed", "delay": 3_600_000, "jitter": 0},
        "removeOnComplete": {"age": 3600, "count": 1000},
    }
    dead = await tools.look("account", story.ids["dead"])
    assert (dead["failedReason"], dead["attemptsMade"], dead["finishedOn"] > 0) == ("dead is dead", 1, True)
    assert "DeadLetter: dead is dead" in dead["stacktrace"][0]
    again = await tools.look("account", story.ids["again"])
    assert (again["failedReason"], again["attemptsMade"], again["delay"]) == ("ValueError: again failed", 1, 3_600_000)
    assert not again.get("finishedOn")
    assert (await tools.look("account", story.ids["low"]))["priority"] == 2


async def test_logs_and_progress(bus: Bus, tools: Tools) -> None:
    story = await Story.begin(bus)
    await bus.worker(story.account, story.desk)
    await story.send("hold")
    await story.until(active=1)

    async def noted() -> None:
        assert (await tools.look("account", story.ids["hold"]))["progress"] == {"held": "hold"}

    await eventually(noted)
    assert await tools.queue("account", "getJobLogs", story.ids["hold"]) == {"logs": ["holding hold"], "count": 1}
    await tools.job("account", story.ids["hold"], "log", "seen by the tool")
    story.desk.go_on.set()
    await story.until(completed=1)
    logs = await tools.queue("account", "getJobLogs", story.ids["hold"], 0, -1, False)
    assert logs == {"logs": ["seen by the tool", "holding hold"], "count": 2}


async def test_the_broker_queue_shows_what_became_of_each_event(bus: Bus, tools: Tools) -> None:
    story = await Story.begin(bus)
    await story.send("first")
    await story.send("later", delay=3600)
    await story.routed(2)

    counts = await tools.queue(BROKER_QUEUE, "getJobCounts")
    assert counts == {**EMPTY, "completed": 2, "delayed": 2}  # a registration is done, and its next tick waits
    assert (await tools.look(BROKER_QUEUE, story.ids["first"]))["returnvalue"] == {"deliveredTo": ["account"]}
    later = await tools.look(BROKER_QUEUE, story.ids["later"])
    assert (later["state"], later["delay"]) == ("delayed", 3_600_000)


# --- workers and limits ---


async def test_get_workers_names_each_of_our_workers_and_the_broker(bus: Bus, node: NodeTools) -> None:
    await bus.broker()
    account = await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    workers = [await bus.worker(account, Recorder()) for _ in range(2)]

    async def named(queue: str, count: int) -> None:
        found = await node.queue(queue, "getWorkers")
        encoded = base64.b64encode(queue.encode()).decode()
        assert [entry["name"] for entry in found] == [queue] * count
        assert {entry["rawname"] for entry in found} <= {f"{bus.settings.prefix}:{encoded}"}
        assert await node.queue(queue, "getWorkersCount") == count

    await eventually(lambda: named("account", 2))
    await eventually(lambda: named(BROKER_QUEUE, 1))
    for worker in workers:
        await worker.stop()
    await eventually(lambda: named("account", 0))


async def test_a_worker_that_never_came_to_rest_is_named_too_until_it_stops(bus: Bus, node: NodeTools) -> None:
    account = bus.messenger(HippoService.ACCOUNT)
    await account.send_many([order(f"hold-{number}") for number in range(3)], notify_self=True)
    desk = ByName()
    worker = await bus.worker(account, desk, concurrency=1)

    await bus.settled("account", active=1, wait=2)
    assert await node.queue("account", "getWorkersCount") == 1
    desk.go_on.set()
    await worker.stop()

    async def gone() -> None:
        assert await node.queue("account", "getWorkersCount") == 0

    await eventually(gone)


async def test_the_python_package_looks_for_other_names_and_finds_no_worker_of_node_either(
    bus: Bus, node: NodeTools, python: PythonTools
) -> None:
    """Its `get_workers` doesn't encode the queue's name, Node's does: one name can't please both."""
    await bus.worker(bus.messenger(HippoService.ACCOUNT), Recorder())
    await node.tell("work", name="account", plan={}, options={})

    async def both_named() -> None:
        assert await node.queue("account", "getWorkersCount") == 2

    await eventually(both_named)
    assert await python.queue("account", "getWorkersCount") == 0


async def test_global_concurrency_is_read_and_kept(bus: Bus, tools: Tools) -> None:
    story = await Story.begin(bus)
    await tools.queue("account", "setGlobalConcurrency", 2)
    assert await tools.queue("account", "getGlobalConcurrency") == 2
    for _ in range(2):
        await bus.worker(story.account, story.desk, concurrency=5)
    await story.send(*(f"hold-{number}" for number in range(6)))

    await story.until(active=2, wait=4)
    assert len(story.desk.began) == 2
    await tools.queue("account", "removeGlobalConcurrency")
    story.desk.go_on.set()
    await story.until(completed=6)


async def test_the_rate_limit_is_read_and_kept(bus: Bus, tools: Tools) -> None:
    story = await Story.begin(bus)
    await tools.queue("account", "setGlobalRateLimit", 2, 3_600_000)
    assert await tools.queue("account", "getGlobalRateLimit") == {"max": 2, "duration": 3_600_000}
    await bus.worker(story.account, story.desk)
    await story.send(*(f"order-{number}" for number in range(6)))

    await story.until(completed=2, wait=4)
    assert 0 < await tools.queue("account", "getRateLimitTtl") <= 3_600_000
    await tools.queue("account", "removeGlobalRateLimit")
    await tools.queue("account", "removeRateLimitKey")
    await story.until(completed=6)


# --- metrics and schedulers ---


async def test_metrics_hold_every_job_that_finished(bus: Bus, node: NodeTools) -> None:
    story = await Story.begin(bus)
    await bus.worker(story.account, story.desk)
    await story.send("dead-0", *(f"order-{number}" for number in range(20)))
    await story.until(completed=20, failed=1)
    for kind in ("completed", "failed"):  # as if that had been two minutes ago
        await bus.redis.hincrby(bus.queue("account").base + f"metrics:{kind}", "prevTS", -120_000)
    await story.send("dead-1", *(f"order-{number}" for number in range(20, 35)))
    await story.until(completed=35, failed=2)

    for queue, kind, count in (("account", "completed", 35), ("account", "failed", 2), (BROKER_QUEUE, "completed", 38)):
        found = await node.queue(queue, "getMetrics", kind)
        now = found["meta"]["count"] - found["meta"]["prevCount"]
        assert found["meta"]["count"] == sum(found["data"]) + now == count
    assert sum((await node.queue("account", "getMetrics", "completed"))["data"]) >= 20


async def test_the_registration_of_a_service_is_a_job_scheduler(bus: Bus, tools: Tools) -> None:
    await Story.begin(bus)

    schedulers = await tools.queue(BROKER_QUEUE, "getJobSchedulers", 0, -1, True)
    assert [(entry["key"], entry["name"], entry["every"]) for entry in schedulers] == [
        ("hippo.register.account", "hippo.register", 300_000)
    ]
    assert schedulers[0]["template"]["data"]["listensTo"] == ["ORDER_SUCCESS"]
    assert await tools.queue(BROKER_QUEUE, "getJobSchedulersCount") == 1
    one = await tools.queue(BROKER_QUEUE, "getJobScheduler", "hippo.register.account")
    assert one["next"] == schedulers[0]["next"]
    tick = await tools.look(BROKER_QUEUE, f"repeat:hippo.register.account:{one['next']}")
    assert (tick["state"], tick["name"]) == ("delayed", "hippo.register")


# --- events ---


async def test_waiting_for_a_job_gives_what_the_processor_gave(bus: Bus, node: NodeTools) -> None:
    story = await Story.begin(bus)
    await node.tell("listen", name="account")
    await story.send("hold", "dead")
    await story.until(wait=2)
    await node.tell("finish", name="account", id=story.ids["hold"])
    await node.tell("finish", name="account", id=story.ids["dead"])
    await bus.worker(story.account, story.desk)
    story.desk.go_on.set()

    done = await node.peer.until(lambda said: said.get("finished") == story.ids["hold"])
    assert done["value"] == {"order": "hold"}
    dead = await node.peer.until(lambda said: said.get("finished") == story.ids["dead"])
    assert dead["reason"] == "dead is dead"


async def test_the_same_events_are_told_as_by_a_stock_worker(bus: Bus, node: NodeTools) -> None:
    """One story twice: sent and worked by us in `account`, added and worked by stock BullMQ in `billing`."""
    names = {"plain": "event-plain-00001", "twice": "event-twice-00001", "never": "event-never-00001"}
    story = await Story.begin(bus, retry=RetryPolicy(attempts=2, delay=0.02, jitter=0))
    for queue in ("account", "billing"):
        await node.tell("listen", name=queue)
        await node.queue(queue, "pause")
    plans: dict[str, list[dict[str, Any]]] = {names["plain"]: [{"progress": 50, "returns": {"fine": True}}]}
    plans[names["twice"]] = [{"raises": "not yet"}, {"returns": {"fine": True}}]
    plans[names["never"]] = [{"raises": "never"}, {"raises": "never"}]
    options = {"attempts": 2, "backoff": {"type": "exponential", "delay": 20}}
    for name, event_id in names.items():
        await story.sender.send(order(name), event_id=event_id)
        await node.queue("billing", "add", "ORDER_SUCCESS", {}, {**options, "jobId": event_id})
    await story.until(wait=3)

    async def by_plan(job: HippoJob[EventData]) -> object:
        step = plans[job.id][job.attempt - 1]
        if "progress" in step:
            await job.update_progress(step["progress"])
        if "raises" in step:
            raise ValueError(step["raises"])
        return step["returns"]

    await bus.worker(story.account, by_plan, concurrency=1)
    await node.tell("work", name="billing", plan=plans, options={"concurrency": 1})
    for queue in ("account", "billing"):
        await node.queue(queue, "resume")
    for queue in ("account", "billing"):
        await bus.settled(queue, completed=2, failed=1)
        await node.peer.until(lambda said, queue=queue: said.get("event") == "drained" and said["queue"] == queue)

    def told(queue: str, job_id: str | None) -> list[dict[str, Any]]:
        found = [said for said in node.peer.said if said.get("queue") == queue and said.get("jobId") == job_id]
        return [{name: _regardless(name, words[name]) for name in sorted(words)} for words in found]

    for job_id in names.values():
        assert told("account", job_id) == told("billing", job_id)
    assert [entry["event"] for entry in told("account", names["never"])] == [
        *("added", "waiting", "active", "delayed", "waiting", "active", "failed", "retries-exhausted"),
    ]
    assert {entry["event"] for entry in told("account", None)} == {"paused", "resumed", "drained"}


def _regardless(name: str, value: Any) -> Any:
    """A value of an event without what can't be equal."""
    if name in ("queue", "delay"):  # the delay is a moment
        return None
    return value.removeprefix("ValueError: ") if name == "failedReason" else value


async def test_a_job_whose_worker_died_is_told_as_stalled(bus: Bus, node: NodeTools) -> None:
    account = bus.messenger(HippoService.ACCOUNT)
    await node.tell("listen", name="account")
    event_id = await account.send(order("left behind"), notify_self=True)
    caller = Caller(account.connection, observer=Observer())
    dead = Queue(account.connection, bus.queue("account"), caller=caller)
    await dead.take(Order(1, lock=0.05))
    await bus.worker(account, Recorder())

    events = await node.events(until="completed", job_id=event_id)
    about = [entry["event"] for entry in events if entry.get("jobId") == event_id]
    assert about == ["added", "waiting", "active", "waiting", "stalled", "active", "completed"]


async def test_a_second_copy_is_told_as_duplicated(bus: Bus, node: NodeTools) -> None:
    story = await Story.begin(bus)
    await node.tell("listen", name=BROKER_QUEUE)
    await story.sender.send(order("once"), event_id="event-once-000001")
    await story.sender.send(order("once"), event_id="event-once-000001")

    events = await node.events(until="duplicated", job_id="event-once-000001")
    assert [entry["event"] for entry in events if entry.get("jobId") == "event-once-000001"].count("added") == 1
