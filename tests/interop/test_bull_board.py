"""bull-board over our queues: what it shows is so, and what it does our brokers and workers follow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hippo_messenger.queues.connection import Connection
from hippo_messenger.queues.dead_letters import Selection
from hippo_messenger.queues.layout import BROKER_QUEUE
from hippo_messenger.queues.redrive import Redrive, RedrivePlan
from hippo_messenger.retry import RetryPolicy
from hippo_messenger.testing import eventually
from tests.contract.bus import Bus
from tests.interop.board import Board
from tests.interop.story import ALL_STATES, EMPTY, Story

pytestmark = pytest.mark.interop

COUNTS = {state: len(names) for state, names in ALL_STATES.items()}


@pytest.fixture
async def board(bus: Bus) -> AsyncIterator[Board]:
    board = await Board.start(bus, "account", BROKER_QUEUE)
    yield board
    await board.close()


def listed(jobs: list[dict[str, Any]]) -> list[str]:
    return [job["data"]["data"]["orderId"] for job in jobs]


# --- what it shows ---


async def test_it_shows_the_jobs_of_every_state_in_pages(bus: Bus, board: Board) -> None:
    story = await Story.begin(bus)
    await story.in_all_states()

    shown = await board.queue("account")
    assert shown["counts"] == {**EMPTY, **COUNTS}
    assert (shown["isPaused"], shown["hasWorkers"], shown["type"]) == (False, True, "bullmq")
    for state, names in ALL_STATES.items():
        assert sorted(listed((await board.queue("account", status=state))["jobs"])) == sorted(names)
    first, second = [await board.queue("account", status="waiting", page=page, jobsPerPage=2) for page in (1, 2)]
    assert (listed(first["jobs"]), listed(second["jobs"])) == (["fifth", "fourth"], ["third"])
    assert first["pagination"] == {"pageCount": 2, "range": {"start": 0, "end": 1}}
    latest = await board.queue("account", status="latest", jobsPerPage=20)
    assert len(latest["jobs"]) == sum(COUNTS.values())


async def test_it_shows_one_job_and_its_log(bus: Bus, board: Board) -> None:
    story = await Story.begin(bus)
    await story.in_all_states()

    dead = await board.get(f"/api/queues/account/{story.ids['dead']}")
    assert (dead["status"], dead["job"]["failedReason"], dead["job"]["attempts"]) == ("failed", "dead is dead", 1)
    assert (dead["job"]["name"], dead["job"]["isFailed"]) == ("ORDER_SUCCESS", True)
    assert "DeadLetter: dead is dead" in dead["job"]["stacktrace"][0]
    assert dead["job"]["opts"]["attempts"] == 3
    assert dead["job"]["data"]["source"] == "order"
    done = (await board.get(f"/api/queues/account/{story.ids['first']}"))["job"]
    assert done["returnValue"] == {"order": "first"}
    assert done["timestamp"] <= done["processedOn"] <= done["finishedOn"]

    async def noted() -> None:
        assert await board.get(f"/api/queues/account/{story.ids['hold']}/logs") == ["holding hold"]
        held = await board.get(f"/api/queues/account/{story.ids['hold']}")
        assert (held["status"], held["job"]["progress"]) == ("active", {"held": "hold"})

    await eventually(noted)
    assert (await board.call("GET", "/api/queues/account/nothing"))[0] == 404


async def test_it_shows_workers_metrics_schedulers_and_redis(bus: Bus, board: Board) -> None:
    story = await Story.begin(bus)
    await bus.worker(story.account, story.desk)
    await story.send("dead-0", *(f"order-{number}" for number in range(5)))
    await story.until(completed=5, failed=1)

    for queue in ("account", BROKER_QUEUE):
        assert len((await board.get(f"/api/queues/{queue}/workers"))["workers"]) == 1
    metrics = await board.get("/api/queues/account/metrics")
    assert [metrics[kind]["meta"]["count"] for kind in ("completed", "failed")] == [5, 1]
    [scheduler] = (await board.get("/api/job-schedulers"))["schedulers"]
    assert (scheduler["id"], scheduler["every"], scheduler["queueName"]) == (
        *("hippo.register.account", 300_000),
        BROKER_QUEUE,
    )
    assert scheduler["nextRunJobId"] == f"repeat:hippo.register.account:{scheduler['next']}"
    assert scheduler["template"]["data"]["listensTo"] == ["ORDER_SUCCESS"]
    assert (await board.get("/api/redis/stats"))["version"]


# --- what it does to one job ---


async def test_a_dead_letter_that_it_retries_is_processed(bus: Bus, board: Board) -> None:
    story = await Story.begin(bus)
    await bus.worker(story.account, story.desk)
    await story.send("dead-0", "dead-1")
    await story.until(failed=2)
    story.desk.fails = False

    await board.put(f"/api/queues/account/{story.ids['dead-0']}/retry")

    await story.until(failed=1, completed=1)
    assert story.desk.done == ["dead-0"]
    assert await board.counts() == {"failed": 1, "completed": 1}
    status, _ = await board.call("PUT", f"/api/queues/account/{'0' * 32}/retry")
    assert status == 404


async def test_an_event_that_the_broker_refused_passes_once_it_was_mended(bus: Bus, board: Board) -> None:
    story = await Story.begin(bus)
    await bus.worker(story.account, story.desk)
    await story.send("order-0")
    await story.routed(2)
    envelope = (await board.get(f"/api/queues/{BROKER_QUEUE}/{story.ids['order-0']}"))["job"]["data"]
    mended = {**envelope, "id": "mended-by-hand-0001", "data": {**envelope["data"], "orderId": "mended"}}
    wrong = {**mended, "data": {}}
    body = {"name": "ORDER_SUCCESS", "data": wrong, "options": {"jobId": "mended-by-hand-0001", "attempts": 1}}
    status, added = await board.call("POST", f"/api/queues/{BROKER_QUEUE}/add", body)
    assert (status, added["job"]["id"]) == (200, "mended-by-hand-0001")
    job = f"/api/queues/{BROKER_QUEUE}/mended-by-hand-0001"

    async def refused() -> None:
        found = await board.get(job)
        assert found["status"] == "failed"
        assert "orderId: required" in found["job"]["failedReason"]

    await eventually(refused)
    status, _ = await board.call("PATCH", f"{job}/update-data", {"jobData": mended})
    assert status == 200
    await board.put(f"{job}/retry")

    await story.routed(3)
    await story.until(completed=2)
    assert story.desk.done == ["order-0", "mended"]
    assert (await board.get(job))["job"]["returnValue"] == {"deliveredTo": ["account"]}


async def test_a_duplicate_that_it_adds_is_delivered_to_nobody(bus: Bus, board: Board) -> None:
    story = await Story.begin(bus)
    await bus.worker(story.account, story.desk)
    await story.send("order-0")
    await story.routed(2)
    event = (await board.get(f"/api/queues/{BROKER_QUEUE}/{story.ids['order-0']}"))["job"]

    body = {"name": event["name"], "data": event["data"], "options": {"attempts": 1}}
    _, added = await board.call("POST", f"/api/queues/{BROKER_QUEUE}/add", body)

    await story.routed(3)
    second = await board.get(f"/api/queues/{BROKER_QUEUE}/{added['job']['id']}")
    assert (second["status"], second["job"]["returnValue"]) == ("completed", {"duplicate": True})
    assert story.desk.done == ["order-0"]


async def test_a_job_that_it_adds_to_a_service_queue_is_processed(bus: Bus, board: Board) -> None:
    story = await Story.begin(bus)
    await bus.worker(story.account, story.desk)
    await story.send("order-0")
    await story.until(completed=1)
    job = (await board.get(f"/api/queues/account/{story.ids['order-0']}"))["job"]

    await board.call("POST", "/api/queues/account/add", {"name": job["name"], "data": job["data"]})

    await story.until(completed=2)
    assert story.desk.done == ["order-0", "order-0"]


async def test_a_delayed_event_that_it_promotes_runs(bus: Bus, board: Board) -> None:
    story = await Story.begin(bus)
    await bus.worker(story.account, story.desk)
    await story.send("order-0", "order-1", delay=3600)

    await board.put(f"/api/queues/{BROKER_QUEUE}/{story.ids['order-0']}/promote")

    await story.until(completed=1)
    assert story.desk.done == ["order-0"]
    assert await board.counts(BROKER_QUEUE) == {"completed": 2, "delayed": 2}


async def test_a_delayed_event_that_it_brings_forward_runs(bus: Bus, board: Board) -> None:
    story = await Story.begin(bus)
    await bus.worker(story.account, story.desk)
    await story.send("order-0", delay=3600)

    seconds, microseconds = await bus.redis.time()
    body = {"runAt": seconds * 1000 + microseconds // 1000 + 200}
    status, answer = await board.call("PATCH", f"/api/queues/{BROKER_QUEUE}/{story.ids['order-0']}/delay", body)

    assert status == 200, answer
    await story.until(completed=1)


async def test_a_job_whose_priority_it_changes_moves_to_its_place(bus: Bus, board: Board) -> None:
    story = await Story.begin(bus)
    await story.in_all_states()

    status, answer = await board.call("PATCH", f"/api/queues/account/{story.ids['low']}/priority", {"priority": 0})
    assert status == 200, answer

    assert await board.counts() == {**COUNTS, "waiting": 4, "prioritized": 1}
    story.desk.go_on.set()
    await story.until(completed=8, failed=1, delayed=1)
    assert story.desk.done[-1] == "urgent"


async def test_a_job_that_it_removes_is_gone_unless_a_worker_has_it(bus: Bus, board: Board) -> None:
    story = await Story.begin(bus)
    await story.in_all_states()
    for name in ("first", "dead", "again", "fourth", "urgent"):
        await board.put(f"/api/queues/account/{story.ids[name]}/clean")
    status, _ = await board.call("PUT", f"/api/queues/account/{story.ids['hold']}/clean")
    assert status == 409

    assert await board.counts() == {"completed": 1, "active": 1, "waiting": 2, "prioritized": 1}
    story.desk.go_on.set()
    await story.until(completed=5)
    assert story.desk.done == ["first", "second", "hold", "third", "fifth", "low"]


# --- what it does to a queue ---


async def test_all_dead_letters_that_it_retries_are_processed(bus: Bus, board: Board) -> None:
    story = await Story.begin(bus)
    await bus.worker(story.account, story.desk)
    names = [f"dead-{number}" for number in range(120)]  # more than a page of it
    await story.send(*names)
    await story.until(failed=120)
    story.desk.fails = False

    answer = await board.put("/api/queues/account/retry/failed")

    assert answer == {"retried": 120, "skipped": 0}
    await story.until(completed=120)
    assert sorted(story.desk.done) == sorted(names)


async def test_it_and_our_redrive_at_once_put_each_dead_letter_back_once(bus: Bus, board: Board) -> None:
    story = await Story.begin(bus)
    await bus.worker(story.account, story.desk)
    names = [f"dead-{number}" for number in range(120)]
    await story.send(*names)
    await story.until(failed=120)
    story.desk.fails = False
    connection = Connection.of(bus.url, settings=bus.settings)
    bus.stack.push_async_callback(connection.close)
    redrive = Redrive(connection, queue="account", settings=bus.settings)

    await asyncio.gather(
        redrive.run(RedrivePlan(Selection(rejected=False), rate=200)),
        board.call("PUT", "/api/queues/account/retry/failed"),
    )

    await redrive.run(RedrivePlan(Selection(rejected=False)))
    await story.until(completed=120)
    assert sorted(story.desk.done) == sorted(names)


async def test_it_shows_and_retries_what_was_redriven_and_has_failed_again(bus: Bus, board: Board) -> None:
    story = await Story.begin(bus)
    await bus.worker(story.account, story.desk)
    await story.send("dead-0")
    await story.until(failed=1)
    connection = Connection.of(bus.url, settings=bus.settings)
    bus.stack.push_async_callback(connection.close)
    await Redrive(connection, queue="account", settings=bus.settings).run(RedrivePlan(Selection(rejected=False)))

    async def failed_again() -> None:
        assert story.desk.began == ["dead-0", "dead-0"]
        assert await bus.count("account", "failed") == 1

    await eventually(failed_again)
    shown = await board.get(f"/api/queues/account/{story.ids['dead-0']}")
    assert (shown["status"], shown["job"]["attempts"]) == ("failed", 1)
    story.desk.fails = False
    await board.put(f"/api/queues/account/{story.ids['dead-0']}/retry")
    await story.until(completed=1)


async def test_all_delayed_jobs_that_it_promotes_run(bus: Bus, board: Board) -> None:
    story = await Story.begin(bus, retry=RetryPolicy(attempts=2, delay=3600, jitter=0))
    await bus.worker(story.account, story.desk)
    names = [f"again-{number}" for number in range(10)]
    await story.send(*names)
    await story.until(delayed=10)
    story.desk.fails = False

    await board.put("/api/queues/account/promote")

    await story.until(completed=10)
    assert sorted(story.desk.done) == sorted(names)


async def test_a_queue_that_it_pauses_holds_until_it_is_resumed(bus: Bus, board: Board) -> None:
    story = await Story.begin(bus)
    await bus.worker(story.account, story.desk)
    await board.put("/api/queues/account/pause")
    await story.send("order-0", "order-1")
    await story.routed(3)

    assert (await board.queue("account"))["isPaused"]
    assert await board.counts() == {"waiting": 2}
    await board.put("/api/queues/account/resume")
    await story.until(completed=2)
    await board.put("/api/queues/pause")
    await story.send("order-2")
    assert await board.counts(BROKER_QUEUE) == {"completed": 3, "waiting": 1, "delayed": 1}
    await board.put("/api/queues/resume")
    await story.until(completed=3)
    assert story.desk.done == ["order-0", "order-1", "order-2"]


@pytest.mark.parametrize(("state", "left"), [("completed", {"failed": 3}), ("failed", {"completed": 3})])
async def test_finished_jobs_that_it_cleans_are_gone(bus: Bus, board: Board, state: str, left: dict[str, int]) -> None:
    story = await Story.begin(bus)
    await bus.worker(story.account, story.desk)
    for number in range(3):
        await story.send(f"order-{number}", f"dead-{number}")
    await story.until(completed=3, failed=3)
    await finished_long_ago(bus, state)

    await board.put(f"/api/queues/account/clean/{state}")

    assert await board.counts() == left
    await story.send("order-3")
    await story.until(**{**left, "completed": left.get("completed", 0) + 1})


async def finished_long_ago(bus: Bus, state: str) -> None:
    """It leaves jobs alone that finished less than five seconds ago."""
    keys = bus.queue("account")
    for job_id, score in await bus.redis.zrange(keys.base + state, 0, -1, withscores=True):
        await bus.redis.zadd(keys.base + state, {job_id: score - 60_000})
        await bus.redis.hincrby(keys.job(job_id.decode()), "finishedOn", -60_000)


async def test_a_queue_that_it_empties_goes_on_with_what_comes(bus: Bus, board: Board) -> None:
    story = await Story.begin(bus)
    await story.in_all_states()

    await board.put("/api/queues/account/empty")

    assert await board.counts() == {"completed": 2, "failed": 1, "delayed": 1, "active": 1}
    story.desk.go_on.set()
    await story.send("after")
    await story.until(completed=4, failed=1, delayed=1)


async def test_a_queue_that_it_obliterates_begins_anew(bus: Bus, board: Board) -> None:
    story = await Story.begin(bus)
    await story.in_all_states()
    assert (await board.call("PUT", "/api/queues/account/obliterate", {"force": True}))[0] == 400  # not paused
    await board.put("/api/queues/account/pause")
    assert (await board.call("PUT", "/api/queues/account/obliterate", {}))[0] == 409  # one is active

    await board.put("/api/queues/account/obliterate", {"force": True})

    assert await board.counts() == {}
    story.desk.go_on.set()
    await story.send("after")
    await story.until(completed=1)


async def test_limits_that_it_sets_are_kept(bus: Bus, board: Board) -> None:
    story = await Story.begin(bus)
    await bus.worker(story.account, story.desk)
    await board.put("/api/queues/account/concurrency", {"concurrency": 2})
    await story.send(*(f"hold-{number}" for number in range(4)))
    await story.until(active=2, wait=2)
    assert (await board.queue("account"))["globalConcurrency"] == 2
    await board.put("/api/queues/account/concurrency", {"concurrency": 0})
    story.desk.go_on.set()
    await story.until(completed=4)

    await board.put("/api/queues/account/rate-limit", {"max": 1, "duration": 3_600_000})
    await story.send("order-0", "order-1", "order-2")
    await story.until(completed=5, wait=2)
    assert 0 < (await board.queue("account"))["activeRateLimitTtl"] <= 3_600_000
    await board.put("/api/queues/account/rate-limit", {"max": None})
    await board.put("/api/queues/account/rate-limit/release")
    await story.until(completed=7)


async def test_a_registration_that_it_runs_or_reschedules_stays_as_it_was(bus: Bus, board: Board) -> None:
    story = await Story.begin(bus)
    await bus.worker(story.account, story.desk)
    scheduler = f"/api/queues/{BROKER_QUEUE}/job-schedulers/hippo.register.account"

    await board.put(f"{scheduler}/run")
    await story.routed(2)
    [done] = (await board.queue(BROKER_QUEUE, status="completed", jobsPerPage=1))["jobs"]
    assert done["returnValue"] == {"service": "account", "listensTo": ["ORDER_SUCCESS"], "registry": "same"}

    status, answer = await board.call("PATCH", scheduler, {"every": 60_000})
    assert status in (200, 204), answer
    [changed] = (await board.get("/api/job-schedulers"))["schedulers"]
    assert changed["every"] == 60_000
    await story.account.register(wait=True)

    async def mended() -> None:
        [found] = (await board.get("/api/job-schedulers"))["schedulers"]
        assert found["every"] == 300_000

    await eventually(mended)
    armed = (await board.get("/api/job-schedulers"))["schedulers"][0]["nextRunJobId"]
    assert (await board.call("PUT", f"/api/queues/{BROKER_QUEUE}/{armed}/clean"))[0] == 400
    await story.send("order-0")
    await story.until(completed=1)
