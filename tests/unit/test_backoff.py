"""Pauses that grow, are bounded, and differ."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hippo_messenger.backoff import Backoff


@given(st.floats(0.001, 1), st.floats(1, 60), st.integers(1, 40))
def test_each_pause_is_at_least_half_of_twice_the_last_and_none_is_longer_than_the_longest(
    first: float, longest: float, tries: int
) -> None:
    backoff = Backoff(first=first, longest=longest)
    for number in range(tries):
        whole = min(first * 2**number, longest)
        assert whole / 2 <= backoff.next() <= whole


def test_pauses_differ() -> None:
    assert len({Backoff(first=1, longest=1).next() for _ in range(50)}) > 40


def test_after_a_reset_a_row_begins_anew() -> None:
    backoff = Backoff(first=0.1, longest=100)
    for _ in range(10):
        backoff.next()
    backoff.reset()
    assert backoff.next() <= 0.1
