"""As the scenarios, but steps that nobody thought of: random sequences, the same in every run."""

from __future__ import annotations

import secrets

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.differential.steps import Add, Command, Job, Outcome, Recover, Renew, Settle, Step, Take
from tests.differential.test_scenarios import play_both
from tests.thorough import FACTOR, IS_THOROUGH

MINUTE = 60_000
_kinds = st.sampled_from(("completed", "failed", "retry", "retry later", "later", "back"))
_moves = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(st.sampled_from(("plain", "lifo", "urgent", "delayed")), max_size=4)),
        st.tuples(st.just("take"), st.integers(1, 4)),
        st.tuples(st.just("settle"), st.lists(_kinds, min_size=1, max_size=4)),
        st.tuples(st.just("due"), st.integers(1, 3)),
        st.tuples(st.sampled_from(("renew", "stall", "recover", "pause", "resume", "limit", "unlimit")), st.just(0)),
    ),
    min_size=3,
    max_size=14,
)


@pytest.mark.slow
@pytest.mark.parametrize("source", ["pypi", "npm"])
@settings(
    max_examples=60 * FACTOR,
    derandomize=not IS_THOROUGH,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
)
@given(moves=_moves, keep=st.sampled_from((None, 0, 2)))
async def test_the_same_key_space_after_any_steps(
    redis_server: str, source: str, moves: list[tuple[str, object]], keep: int | None
) -> None:
    await play_both(_Story(keep).steps(moves), source, redis_server, f"{{r-{secrets.token_hex(6)}}}")


class _Story:
    """Makes steps of moves: it knows no more than that jobs have been added, so it takes all before it settles."""

    def __init__(self, keep: int | None) -> None:
        self._keep = keep
        self._added = 0
        self._delayed: list[str] = []

    def steps(self, moves: list[tuple[str, object]]) -> list[Step]:
        steps: list[Step] = []
        for move, what in moves:
            if move == "add" and isinstance(what, list):
                steps.append(Add(*(self._job(kind) for kind in what)))
            elif move == "take" and isinstance(what, int):
                steps.append(Take(what))
            elif move == "settle" and isinstance(what, list):
                steps += self._settled(what)
            elif move == "due" and isinstance(what, int):
                steps += self._due(what)
            else:
                steps += _plain(move)
        return steps

    def _job(self, kind: str) -> Job:
        self._added += 1
        job = f"event-{self._added:03}"
        if kind == "delayed":
            self._delayed.append(job)
        return Job(
            job, lifo=kind == "lifo", priority=3 if kind == "urgent" else 0, delay=MINUTE if kind == "delayed" else 0
        )

    def _settled(self, kinds: list[str]) -> list[Step]:
        """Jobs of their own, taken before whatever waits, so that it's known which jobs these are."""
        jobs = []
        for kind in kinds:
            self._added += 1
            jobs.append((kind, f"event-{self._added:03}"))
        unpaused: list[Step] = [*_plain("resume"), *_plain("unlimit")]
        add = Add(*(Job(job, lifo=True) for _, job in jobs))
        return [*unpaused, add, Take(len(jobs)), Settle(*(self._outcome(kind, job) for kind, job in jobs))]

    def _outcome(self, kind: str, job: str) -> Outcome:
        if kind in ("completed", "failed"):
            return Outcome("completed" if kind == "completed" else "failed", job, "{}", 3, count=self._keep)
        if kind == "back":
            return Outcome("back", job)
        if kind == "retry":
            return Outcome("retry", job, "it broke", 0)
        self._delayed.append(job)
        return Outcome("later" if kind == "later" else "retry", job, "it broke", MINUTE)

    def _due(self, count: int) -> list[Step]:
        due, self._delayed = self._delayed[:count], self._delayed[count:]
        return [Command("ZADD", "delayed", "XX", at, job) for at, job in enumerate(due, start=1)]


def _plain(move: str) -> list[Step]:
    match move:
        case "renew":
            return [Renew()]
        case "recover":
            return [Recover()]
        case "stall":
            return [Add(Job("stalling", lifo=True)), Take(1), Command("DEL", "stalling:lock"), Recover()]
        case "pause":
            return [Command("HSET", "meta", "paused", 1)]
        case "resume":
            return [Command("HDEL", "meta", "paused")]
        case "limit":
            return [Command("HSET", "meta", "concurrency", 2, "max", 3, "duration", MINUTE)]
        case _:
            return [Command("HDEL", "meta", "concurrency", "max", "duration")]
