"""The scripts of the queues beside a model of the contract, through any steps: one state a job, nothing lost or twice.

Replies get lost and calls are repeated at once or much later, locks run out, two workers believe to have one job,
brokers route by a registry that has moved on; after every step all states and counts are compared.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, ClassVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from hippo_messenger.queues.call import Argument
from tests.integration.scripts import ADD, HOUR, OPTS, Bench, order, outcome, taken_ids
from tests.stateful.model import MOST_STALLS, Held, ModelQueue, ModelSystem
from tests.thorough import FACTOR, IS_THOROUGH

SERVICES = ("account", "shipping")
QUEUES = ("broker", "order", *SERVICES)
OUTCOMES = ("completed", "failed", "retry", "retry later", "later", "back")
KINDS = {
    "plain": (0, 0, False),
    "lifo": (0, 0, True),
    "urgent": (0, 1, False),
    "low": (0, 5, False),
    "delayed": (HOUR, 0, False),
}
"""Delay, priority, and whether it goes to the head of the line."""
OPTIONS = 1
"""Where `ADD` has a job's options."""
_at = st.integers(0, 11)
_jobs = st.lists(st.tuples(st.integers(0, 60), st.sampled_from((*["plain"] * 4, *KINDS))), min_size=1, max_size=4)
_most = st.integers(0, 3)
_pick = st.integers(0, 47)
_picks = st.lists(_pick, min_size=1, max_size=4)
_endings = st.lists(st.tuples(_pick, st.sampled_from(OUTCOMES)), min_size=1, max_size=4)


@dataclass(frozen=True)
class Repeat:
    """A call that was made and whose reply was lost, and what the model says to its repetition."""

    queue: str
    token: str
    most: int
    run: Callable[[], list[Any]]
    expect: Callable[[], list[str]] = field(default=list)


class Queues(RuleBasedStateMachine):
    """Every step is done by the scripts and by the model."""

    lost = Bundle("lost")

    url: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(self.url, f"{{t-{secrets.token_hex(6)}}}")
        self.model = ModelSystem({name: ModelQueue() for name in QUEUES})
        self.believed: list[Held] = []
        """What some worker has, or believes to have."""
        self.tokens = 0
        self.events = 0
        self.version = 7
        self.bench.redis.set(self.bench.layout.registry_version, self.version)

    def teardown(self) -> None:
        self.bench.redis.delete(*self.bench.redis.keys(f"{self.bench.layout.prefix}:*"))
        self.bench.redis.close()

    # --- events come in ---

    @rule(queue=st.sampled_from(QUEUES), jobs=_jobs, copy=st.booleans(), repeats=st.integers(0, 2))
    def publish(self, queue: str, jobs: list[tuple[int, str]], copy: bool, repeats: int) -> None:
        copy = copy and queue != "order"
        ids = [f"event-{number if number < self.events else self.events + at}" for at, (number, _) in enumerate(jobs)]
        self.events += len(jobs)
        for number in range(repeats + 1):
            again, words, expected = number > 0, list[Argument](), [b"ok"]
            for job_id, (_, kind) in zip(ids, jobs, strict=True):
                delay, priority, lifo = KINDS[kind]
                job = list(ADD(job_id, delay=delay, priority=priority, lifo=lifo, copy=OPTS if copy else ""))
                job[OPTIONS] = '{"lifo":true}' if lifo else OPTS
                words += job
                status = self.model.publish(
                    queue, job_id, delayed=delay > 0, priority=priority, lifo=lifo, copy=copy, again=again
                )
                expected += [job_id.encode(), status.encode()]
            keys = (*self._keys(queue), *self._keys("order"), self.bench.layout.seen)
            assert self.bench.run("publish", keys, [1, 600_000, "order", *words], again=again) == expected

    # --- workers ---

    @precondition(lambda self: self._somewhere("waits"))
    @rule(at=_at, most=st.sampled_from((1, 2, 3, 20)))
    def take(self, at: int, most: int) -> None:
        self._take_from(self._where("waits", at), most)

    def _take_from(self, queue: str, most: int) -> None:
        token = self._token()
        self._wake(queue)
        self._taken(queue, token, self._take(queue, token, most)(), self.model.queues[queue].take(token, most))

    @precondition(lambda self: self._somewhere("waits"))
    @rule(target=lost, at=_at, most=st.sampled_from((1, 2, 3, 20)))
    def take_and_lose_the_reply(self, at: int, most: int) -> Repeat:
        queue = self._where("waits", at)
        token = self._token()
        self._wake(queue)
        self._take(queue, token, most)()
        self.model.queues[queue].take(token, most)
        return Repeat(queue, token, most, self._take(queue, token, most, again=True))

    @precondition(lambda self: self._somewhere("active"))
    @rule(at=_at, endings=_endings, most=_most)
    def settle(self, at: int, endings: list[tuple[int, str]], most: int) -> None:
        queue = self._where("active", at)
        ours, token = self._ending(queue, endings), self._token()
        reply = self._settle(queue, token, ours, most)()
        assert texts(reply[2]) == self.model.settle(queue, ours)
        self._taken(queue, token, reply, self.model.queues[queue].take(token, most))

    @precondition(lambda self: self._somewhere("active"))
    @rule(target=lost, at=_at, endings=_endings, most=_most)
    def settle_and_lose_the_reply(self, at: int, endings: list[tuple[int, str]], most: int) -> Repeat:
        queue = self._where("active", at)
        ours, token = self._ending(queue, endings), self._token()
        self._settle(queue, token, ours, most)()
        self.model.settle(queue, ours)
        self.model.queues[queue].take(token, most)
        return Repeat(
            queue,
            token,
            most,
            self._settle(queue, token, ours, most, again=True),
            lambda: self.model.settle_again(queue, ours),
        )

    @rule(call=consumes(lost))
    def repeat(self, call: Repeat) -> None:
        """Whatever has happened in between."""
        reply = call.run()
        statuses = call.expect()
        assert texts(reply[2] if len(reply) > 2 else []) == statuses
        assert set(statuses) <= {"lost", "settled"}
        expected = self.model.queues[call.queue].take_again(call.token, call.most)
        self._taken(call.queue, call.token, reply, expected)

    @precondition(lambda self: self._somewhere("active"))
    @rule(at=_at)
    def a_worker_stops(self, at: int) -> None:
        """It puts back what it has, the newest first, and takes nothing any more."""
        queue, token = self._where("active", at), self._token()
        locks = self.model.queues[queue].locks
        mine = [held for held in self.believed if held.queue == queue and locks.get(held.id) == held.token]
        endings = [(held, "back") for held in reversed(mine)]
        reply = self._settle(queue, token, endings, 0)()
        assert texts(reply[2]) == self.model.settle(queue, endings)

    # --- brokers ---

    @precondition(lambda self: self.model.queues["broker"].active)
    @rule(picks=_picks, listeners=st.sets(st.sampled_from(SERVICES)), most=_most)
    def route(self, picks: list[int], listeners: set[str], most: int) -> None:
        events, services, token = self._picked("broker", picks), sorted(listeners), self._token()
        if not events:
            return
        reply = self._route(events, services, token, most)()
        assert texts(reply[2]) == self.model.route(events, services)
        assert reply[3] == []
        self._taken("broker", token, reply, self.model.queues["broker"].take(token, most))

    @precondition(lambda self: self.model.queues["broker"].active)
    @rule(target=lost, picks=_picks, listeners=st.sets(st.sampled_from(SERVICES)), most=_most)
    def route_and_lose_the_reply(self, picks: list[int], listeners: set[str], most: int) -> Any:
        events, services, token = self._picked("broker", picks), sorted(listeners), self._token()
        if not events:
            return multiple()
        self._route(events, services, token, most)()
        self.model.route(events, services)
        self.model.queues["broker"].take(token, most)
        again = self._route(events, services, token, most, again=True)
        return Repeat("broker", token, most, again, lambda: self.model.route(events, services))

    @precondition(lambda self: self.model.queues["broker"].active)
    @rule(picks=_picks, most=_most)
    def route_by_a_registry_that_has_moved_on(self, picks: list[int], most: int) -> None:
        if events := self._picked("broker", picks):
            call = self._route(events, list(SERVICES), self._token(), most)
            self.version += 1
            self.bench.redis.set(self.bench.layout.registry_version, self.version)
            assert call() == [b"stale", self.version]

    # --- time passes ---

    @precondition(lambda self: self._somewhere("active"))
    @rule(at=_at, picks=_picks)
    def locks_run_out(self, at: int, picks: list[int]) -> None:
        queue = self._where("active", at)
        for one in self._picked(queue, picks):
            self._lose_lock(one)

    @precondition(lambda self: self._somewhere("active"))
    @rule(at=_at, picks=_picks)
    def a_worker_dies(self, at: int, picks: list[int]) -> None:
        """And two checks later its jobs are with somebody else; it may be a worker that only was away for long."""
        queue = self._where("active", at)
        for one in self._picked(queue, picks):
            self._lose_lock(one)
        for _ in range(2):
            self._recover(queue)
        self._take_from(queue, most=2)

    def _lose_lock(self, one: Held) -> None:
        self.bench.redis.delete(self.bench.key(f"{one.id}:lock", queue=one.queue))
        self.model.queues[one.queue].locks.pop(one.id, None)

    @precondition(lambda self: self._somewhere("active"))
    @rule(at=_at, picks=_picks)
    def renew(self, at: int, picks: list[int]) -> None:
        queue = self._where("active", at)
        ours = self._picked(queue, picks)
        words = [word for one in ours for word in (one.id, one.token)]
        reply = self.bench.run("renew", self._keys(queue), [30_000, *words])
        model = self.model.queues[queue]
        kept = [one for one in ours if model.locks.get(one.id) == one.token]
        model.suspects -= {one.id for one in kept}
        assert reply[1] == [place for place, one in enumerate(ours, start=1) if one not in kept]

    @precondition(lambda self: self._somewhere("active"))
    @rule(at=_at, again=st.booleans())
    def recover(self, at: int, again: bool) -> None:
        self._recover(self._where("active", at), again=again)

    def _recover(self, queue: str, *, again: bool = False) -> None:
        keys = self.bench.layout.queue(queue)
        self.bench.redis.delete(keys.stalled_check)
        call = ("recover", (*keys.all, keys.stalled_check, keys.scheduler), [1, MOST_STALLS, 60_000])
        found = texts(self.bench.run(*call)[1])
        model = self.model.queues[queue]
        assert set(found) == model.stalled
        assert len(found) == len(model.stalled)
        model.recover(found)
        if again:
            assert self.bench.run(*call, again=True)[1] == []

    @precondition(lambda self: self._somewhere("delayed"))
    @rule(at=_at, count=st.integers(1, 2))
    def delays_end(self, at: int, count: int) -> None:
        queue = self._where("delayed", at)
        model = self.model.queues[queue]
        for job_id in [job_id for job_id in model.delayed if job_id not in model.due][:count]:
            model.due.append(job_id)
            self.bench.redis.zadd(self.bench.key("delayed", queue=queue), {job_id: len(model.due)})

    # --- people ---

    @rule(queue=st.sampled_from(QUEUES))
    def pause(self, queue: str) -> None:
        self.bench.redis.hset(self.bench.key("meta", queue=queue), "paused", 1)
        self.bench.redis.delete(self.bench.key("marker", queue=queue))
        self.model.queues[queue].paused = True

    @precondition(lambda self: any(queue.paused for queue in self.model.queues.values()))
    @rule()
    def resume(self) -> None:
        for queue, model in self.model.queues.items():
            self.bench.redis.hdel(self.bench.key("meta", queue=queue), "paused")
            self.bench.redis.zadd(self.bench.key("marker", queue=queue), {"0": 0})
            model.paused = False

    # --- what must be so after every step ---

    @invariant()
    def every_queue_is_as_the_model_says(self) -> None:
        for name, model in self.model.queues.items():
            found = self._states(name)
            assert found["wait"] == model.wait, name
            assert found["active"] == model.active, name
            assert found["prioritized"] == [job_id for _, _, job_id in model.prioritized], name
            for state in ("delayed", "completed", "failed"):
                assert sorted(found[state]) == sorted(getattr(model, state)), (name, state)
            everywhere = [job_id for state in found.values() for job_id in state]
            assert sorted(everywhere) == sorted(model.jobs), f"{name}: each job is in exactly one state"

    @invariant()
    def every_job_is_counted_and_locked_as_the_model_says(self) -> None:
        for name, model in self.model.queues.items():
            pipeline = self.bench.redis.pipeline(transaction=False)
            for job_id in model.jobs:
                key = self.bench.key(job_id, queue=name)
                pipeline.hmget(key, "atm", "ats", "stc").get(f"{key}:lock").hexists(key, "defa")
            replies = pipeline.execute()
            for at, (job_id, job) in enumerate(model.jobs.items()):
                counts, lock, gives_up = replies[3 * at : 3 * at + 3]
                assert [int(count or 0) for count in counts] == [job.made, job.started, job.stalls], (name, job_id)
                assert (lock.decode() if lock else None) == model.locks.get(job_id), (name, job_id)
                assert bool(gives_up) == job.gives_up, (name, job_id)

    @invariant()
    def who_waits_for_work_is_woken(self) -> None:
        """Where a job waits and may be taken the marker is there, or an idle worker would sleep on."""
        for name, model in self.model.queues.items():
            if (model.wait or model.prioritized) and not model.paused:
                assert self.bench.redis.zscore(self.bench.key("marker", queue=name), "0") is not None, name

    # --- calls ---

    def _take(self, queue: str, token: str, most: int, *, again: bool = False) -> Callable[[], list[Any]]:
        return lambda: self.bench.run("take", self._keys(queue), order(most, token=token), again=again)

    def _settle(
        self, queue: str, token: str, endings: list[tuple[Held, str]], most: int, *, again: bool = False
    ) -> Callable[[], list[Any]]:
        words: list[Argument] = order(most, token=token)
        for (ending, holder), run in groupby(endings, lambda one: (one[1], one[0].token)):
            number = {"failed": 1, "retry later": HOUR, "later": HOUR}.get(ending, 0)
            kind, value = ending.split(" ", maxsplit=1)[0], "{}" if ending == "completed" else "why"
            ids = [held.id for held, _ in run]
            *head, _, _ = outcome(kind, "", token=holder, value=value, number=number)
            words += [*head, len(ids), *ids]
        return lambda: self.bench.run("settle", self._keys(queue), words, again=again)

    def _route(
        self, events: list[Held], services: list[str], token: str, most: int, *, again: bool = False
    ) -> Callable[[], list[Any]]:
        keys = [*self._keys("broker"), self.bench.layout.registry_version, self.bench.layout.seen]
        words: list[Argument] = [*order(most, token=token), self.version, 600_000, "", "", len(services)]
        for service in services:
            keys += self._keys(service)
            words += [service, OPTS]
        words += [1, len(services), *range(1, len(services) + 1), "{}"]
        for holder, run in groupby(events, lambda event: event.token):
            ids = [event.id for event in run]
            words += [1, holder, "", len(ids), *(word for job_id in ids for word in (job_id, "", job_id))]
        return lambda: self.bench.run("route", keys, words, again=again)

    def _taken(self, queue: str, token: str, reply: list[Any], expected: list[str]) -> None:
        assert texts(taken_ids(reply[1])) == expected
        self.believed += [Held(queue, job_id, token) for job_id in expected]

    def _wake(self, queue: str) -> None:
        """As a worker that has waited: it has used the marker up."""
        self.bench.redis.zpopmin(self.bench.key("marker", queue=queue))

    def _states(self, queue: str) -> dict[str, list[str]]:
        pipeline = self.bench.redis.pipeline(transaction=False)
        for name in ("wait", "active"):
            pipeline.lrange(self.bench.key(name, queue=queue), 0, -1)
        for name in ("prioritized", "delayed", "completed", "failed"):
            pipeline.zrange(self.bench.key(name, queue=queue), 0, -1)
        wait, active, *sets = [texts(reply) for reply in pipeline.execute()]
        names = ("prioritized", "delayed", "completed", "failed")
        return {"wait": wait[::-1], "active": active[::-1], **dict(zip(names, sets, strict=True))}

    def _picked(self, queue: str, picks: list[int]) -> list[Held]:
        """Some of what is believed to be held in a queue, each job once; mostly of jobs that somebody has indeed."""
        ours = [held for held in self.believed if held.queue == queue]
        contested = [held for held in ours if held.id in self.model.queues[queue].active]
        some = [(contested if number % 8 and contested else ours) for number in picks]
        return list({held.id: held for held in map(_chosen, some, picks) if held}.values())

    def _somewhere(self, what: str) -> bool:
        return any(getattr(queue, what) for queue in self.model.queues.values())

    def _where(self, what: str, at: int) -> str:
        """One of the queues that have it."""
        found = [name for name, queue in self.model.queues.items() if getattr(queue, what)]
        return found[at % len(found)]

    def _ending(self, queue: str, endings: list[tuple[int, str]]) -> list[tuple[Held, str]]:
        picked = self._picked(queue, [number for number, _ in endings])
        return list(zip(picked, (ending for _, ending in endings), strict=False))

    def _keys(self, queue: str) -> tuple[str, ...]:
        return self.bench.layout.queue(queue).all

    def _token(self) -> str:
        self.tokens += 1
        return f"token-{self.tokens}"


def _chosen(among: list[Held], number: int) -> Held | None:
    return among[number // 8 % len(among)] if among else None


def texts(values: Any) -> list[str]:
    return [value.decode() for value in values]


def test_the_scripts_do_what_the_contract_says_through_any_steps(redis_server: str) -> None:
    class Here(Queues):
        url = redis_server

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=100 * FACTOR,
            stateful_step_count=50,
            derandomize=not IS_THOROUGH,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
