"""How long an event counts: what a sender may ask for."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone

import pytest

from hippo_messenger.errors import ConfigurationError
from hippo_messenger.expiry import Expiry, expiry_time

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expires", "expected"),
    [
        (90, NOON + timedelta(seconds=90)),
        (0.5, NOON + timedelta(milliseconds=500)),
        (datetime(2026, 11, 23, 14, tzinfo=timezone(timedelta(hours=1))), NOON + timedelta(hours=1)),
    ],
)
def test_seconds_count_from_now_and_a_time_is_taken_in_its_own_zone(expires: Expiry, expected: datetime) -> None:
    assert expiry_time(expires, now=NOON, delay=0) == expected


@pytest.mark.parametrize(
    ("expires", "said"),
    [
        (0, "in seconds, from above 0"),
        (-1.0, "in seconds, from above 0"),
        (math.nan, "in seconds"),
        (math.inf, "ten years"),
        (True, "got True"),
        ("60", "got '60'"),
        (datetime(2026, 11, 24, 12), "without: "),  # noqa: DTZ001 - that is the fault
        (datetime.max.replace(tzinfo=timezone(-timedelta(hours=1))), "years 1 to 9999"),
        (NOON, "after 2026-11-23T12:00:00"),
        (NOON - timedelta(days=1), "after 2026-11-23T12:00:00"),
    ],
)
def test_what_is_no_time_to_come_is_refused_and_says_why(expires: Expiry, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        expiry_time(expires, now=NOON, delay=0)


@pytest.mark.parametrize("expires", [5, 4.9, NOON + timedelta(seconds=5)])
def test_an_event_that_would_expire_before_its_delay_is_over_is_refused(expires: Expiry) -> None:
    with pytest.raises(ConfigurationError, match="after the delay of 5 s"):
        expiry_time(expires, now=NOON, delay=5)
    assert expiry_time(6, now=NOON, delay=5) == NOON + timedelta(seconds=6)
