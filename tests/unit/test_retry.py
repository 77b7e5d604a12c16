"""When a failed job is tried again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hippo_messenger.errors import ConfigurationError
from hippo_messenger.retry import RetryPolicy

DAY = 24 * 3600


def test_exponential_backoff_doubles() -> None:
    policy = RetryPolicy(attempts=5, delay=1, jitter=0)

    assert [policy.delay_after(made, chance=0.5) for made in (1, 2, 3, 4, 5)] == [1, 2, 4, 8, None]


def test_fixed_backoff_stays() -> None:
    policy = RetryPolicy(attempts=3, delay=2, backoff="fixed", jitter=0)

    assert [policy.delay_after(made, chance=0.5) for made in (1, 2, 3)] == [2, 2, None]


@pytest.mark.parametrize(("jitter", "chance", "delay"), [(1, 0, 0), (1, 1, 4), (1, 0.5, 2), (0.5, 0, 2), (0.5, 1, 4)])
def test_jitter_is_the_share_left_to_chance(jitter: float, chance: float, delay: float) -> None:
    assert RetryPolicy(attempts=9, delay=4, jitter=jitter).delay_after(1, chance=chance) == delay


def test_one_attempt_is_no_retry() -> None:
    assert RetryPolicy(attempts=1).delay_after(1, chance=0) is None


@given(made=st.integers(1, 10_000), chance=st.floats(0, 1))
def test_no_delay_is_longer_than_a_day_or_negative(made: int, chance: float) -> None:
    delay = RetryPolicy(attempts=20_000).delay_after(made, chance=chance)

    assert delay is not None
    assert 0 <= delay <= DAY


@pytest.mark.parametrize(
    "options", [{"attempts": 0}, {"delay": -1}, {"delay": float("nan")}, {"jitter": 2}, {"backoff": "custom"}]
)
def test_a_wrong_option_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match="expected"):
        RetryPolicy(**options)  # type: ignore[arg-type]


@given(
    attempts=st.integers(1, 100),
    delay=st.integers(0, 10**6),
    backoff=st.sampled_from(["fixed", "exponential"]),
    jitter=st.sampled_from([0.0, 0.25, 1.0]),
)
def test_a_policy_survives_the_way_through_job_options(attempts: int, delay: int, backoff: str, jitter: float) -> None:
    policy = RetryPolicy(attempts=attempts, delay=delay / 1000, backoff=backoff, jitter=jitter)  # type: ignore[arg-type]

    assert RetryPolicy.from_job_options(policy.to_job_options()) == policy


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"attempts": "many"},
        {"attempts": True, "backoff": []},
        {"attempts": float("nan"), "backoff": {"delay": "x", "jitter": None}},
        {"attempts": 0, "backoff": {"type": 7}},
    ],
)
def test_garbled_job_options_mean_one_attempt(options: dict[str, object]) -> None:
    assert RetryPolicy.from_job_options(options).attempts == 1


def test_a_number_as_backoff_is_a_fixed_delay_in_ms_as_in_bullmq() -> None:
    assert RetryPolicy.from_job_options({"attempts": 3, "backoff": 1500}).delay_after(2, chance=1) == 1.5
