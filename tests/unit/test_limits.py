"""Rates as one writes them, and limits that are none."""

from __future__ import annotations

import pytest

from hippo_messenger.errors import ConfigurationError
from hippo_messenger.limits import RateLimit, WorkLimits
from hippo_messenger.queues.throttle import read_limits


@pytest.mark.parametrize(
    ("text", "jobs", "period"),
    [
        ("100/s", 100, 1),
        ("10/min", 10, 60),
        ("1/h", 1, 3600),
        ("5/30s", 5, 30),
        ("5 / 2 min", 5, 120),
        ("5/168h", 5, 604800),
    ],
)
def test_a_rate_as_one_writes_it(text: str, jobs: int, period: float) -> None:
    rate = RateLimit.parse(text)
    assert rate == RateLimit(jobs, period)
    assert RateLimit.parse(str(rate)) == rate


@pytest.mark.parametrize("text", ["", "100", "/s", "100/", "1.5/s", "-1/s", "0/s", "5/0s", "5/day", "99999999999/s"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"expected a (rate|period)"):
        RateLimit.parse(text)


@pytest.mark.parametrize("count", [-1, 1.5, True, "5", 10**15])
def test_a_concurrency_is_a_number_of_jobs(count: object) -> None:
    with pytest.raises(ConfigurationError, match="expected a concurrency"):
        WorkLimits(concurrency=count)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "limits"),
    [
        ((None, None, None), WorkLimits()),
        ((b"", b"", b""), WorkLimits()),
        ((b"100", b"2000", b"5"), WorkLimits(RateLimit(100, 2.0), 5)),
        ((b"100", None, None), WorkLimits(RateLimit(100))),
        ((b"0", b"1000", None), WorkLimits(RateLimit(1))),  # BullMQ lets one through
        ((b"nan", b"1e9", b"-1"), WorkLimits()),
        # What Node may set and we would not: each part is shown for itself.
        ((b"100", b"604800000", b"5"), WorkLimits(RateLimit(100, 604800), 5)),
        ((b"100", b"1000", b"0"), WorkLimits(RateLimit(100), 0)),
        ((b"99999999999", b"1000", None), WorkLimits(RateLimit(99_999_999_999))),
        ((b"100", b"0", b"5"), WorkLimits(None, 5)),  # a period that ends as it begins limits nothing
    ],
)
def test_limits_as_bullmq_keeps_them(words: tuple[bytes | None, ...], limits: WorkLimits) -> None:
    assert read_limits(words) == limits


def test_limits_say_what_they_are() -> None:
    assert str(WorkLimits(RateLimit(100), 5)) == "100/s, 5 at a time"
    assert str(WorkLimits(RateLimit(7, 604800), 0)) == "7/168h, 0 at a time"
    assert str(WorkLimits(RateLimit(7, 0.25))) == "7/0.25s"
    assert str(WorkLimits()) == "none"
