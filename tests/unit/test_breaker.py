"""When a processor that fails everything is given fewer jobs, and when it gets them all again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hippo_messenger.breaker import Breaker


def opened(*, now: float = 0.0) -> Breaker:
    breaker = Breaker(attempts=20, failures=0.9)
    for number in range(20):
        breaker.failed(f"job-{number}", now=now, chance=1.0)
    assert breaker.state == "open"
    return breaker


def probe(breaker: Breaker, job_id: str, *, at: float) -> None:
    assert breaker.room(10, now=at) == 1
    breaker.took(job_id, now=at)
    assert breaker.state == "half-open"


def fail(breaker: Breaker, job_id: str, *, at: float) -> float:
    """Have a probe fail; how long the pause is then."""
    probe(breaker, job_id, at=at)
    breaker.failed(job_id, now=at, chance=1.0)
    assert breaker.state == "open"
    return breaker.due_at - at


@pytest.mark.parametrize(("successes", "failures", "state"), [(2, 18, "open"), (3, 17, "closed"), (0, 19, "closed")])
def test_it_opens_when_enough_of_enough_attempts_have_failed(successes: int, failures: int, state: str) -> None:
    breaker = Breaker(attempts=20, failures=0.9)
    for number in range(successes):
        breaker.succeeded(f"good-{number}", now=0)
    for number in range(failures):
        breaker.failed(f"bad-{number}", now=0, chance=0.5)

    assert breaker.state == state
    assert breaker.room(10, now=0) == (10 if state == "closed" else 0)


def test_only_the_last_attempts_count() -> None:
    breaker = Breaker(attempts=20, failures=0.9)
    for number in range(1000):
        breaker.succeeded(f"good-{number}", now=0)
    states = []
    for number in range(18):
        breaker.failed(f"bad-{number}", now=0, chance=0.5)
        states.append(breaker.state)
    assert states == ["closed"] * 17 + ["open"]


def test_0_attempts_never_opens_it() -> None:
    breaker = Breaker(attempts=0, failures=0.9)
    for number in range(1000):
        breaker.failed(f"bad-{number}", now=0, chance=0.5)
        breaker.succeeded(f"good-{number}", now=0)
    assert (breaker.state, breaker.room(7, now=0)) == ("closed", 7)


def test_probes_come_at_growing_pauses_one_at_a_time() -> None:
    breaker = opened(now=100)
    assert breaker.room(10, now=100.9) == 0
    now, pauses = 101.0, []
    for number in range(7):
        pauses.append(fail(breaker, f"probe-{number}", at=now))
        assert breaker.room(10, now=now + pauses[-1] - 0.1) == 0
        now += pauses[-1]
    assert pauses == [2, 4, 8, 16, 30, 30, 30]


def test_a_pause_is_never_shorter_than_half_of_itself() -> None:
    breaker = opened()
    probe(breaker, "probe", at=1)
    breaker.failed("probe", now=1, chance=0.0)
    assert breaker.due_at == 2


def test_while_a_probe_runs_no_other_is_taken_but_it_is_not_waited_for_for_ever() -> None:
    breaker = opened()
    probe(breaker, "endless", at=1)
    assert breaker.room(10, now=30.9) == 0
    assert breaker.room(10, now=31) == 1
    assert breaker.room(0, now=31) == 0


def test_three_probes_in_a_row_close_it_and_it_begins_anew() -> None:
    breaker = opened()
    for number in range(2):
        probe(breaker, f"good-{number}", at=1)
        breaker.succeeded(f"good-{number}", now=1)
    assert fail(breaker, "bad", at=1) == 2
    for number in range(3):
        probe(breaker, f"better-{number}", at=5)
        breaker.succeeded(f"better-{number}", now=5)
    assert (breaker.state, breaker.room(10, now=5)) == ("closed", 10)
    states = []
    for number in range(20):
        breaker.failed(f"again-{number}", now=6, chance=1.0)
        states.append(breaker.state)
    assert states == ["closed"] * 19 + ["open"]
    assert breaker.due_at == 7


def test_jobs_that_were_running_when_it_opened_say_nothing() -> None:
    breaker = opened()
    for number in range(10):
        breaker.failed(f"straggler-{number}", now=0.5, chance=1.0)
        breaker.succeeded(f"straggler-{number}", now=0.5)
        breaker.ended(f"straggler-{number}", now=0.5)
    assert (breaker.state, breaker.due_at) == ("open", 1)


def test_a_probe_that_says_nothing_makes_way_for_the_next() -> None:
    breaker = opened()
    probe(breaker, "discarded", at=1)
    breaker.ended("discarded", now=1.5)
    assert breaker.state == "open"
    assert breaker.room(10, now=1.5) == 1


def test_of_several_probes_that_fail_only_the_first_doubles_the_pause() -> None:
    breaker = opened()
    for number in range(10):  # taken by a call that was under way when it opened
        breaker.took(f"probe-{number}", now=0.1)
    for number in range(10):
        breaker.failed(f"probe-{number}", now=0.2, chance=1.0)
        breaker.ended(f"probe-{number}", now=0.2)
    assert breaker.due_at == 2.2


@given(st.lists(st.tuples(st.sampled_from(["took", "succeeded", "failed", "ended"]), st.integers(0, 5)), max_size=300))
def test_whatever_happens_there_is_room_again_at_the_latest_after_half_a_minute(steps: list[tuple[str, int]]) -> None:
    breaker = Breaker(attempts=4, failures=0.9)
    now = 0.0
    for what, number in steps:
        now += 0.25
        if what == "failed":
            breaker.failed(str(number), now=now, chance=0.5)
        else:
            getattr(breaker, what)(str(number), now=now)
        assert 0 <= breaker.room(10, now=now) <= 10
        assert breaker.room(10, now=now + 30) >= 1
