"""When a failed job is tried again. Pure: no clock, and chance is an argument."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hippo_messenger.errors import ConfigurationError

__all__ = ["RetryPolicy"]

_LONGEST_DELAY = 24 * 3600.0
"""No retry waits longer than a day, whatever the exponent says."""
_LARGEST = 2**53
"""Numbers beyond it are garbage: JavaScript can't hold them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often a job is tried, and how long after each failure.

    Written into every copy as BullMQ's `attempts` and `backoff`, so that a Node worker follows it too.
    """

    attempts: int = 3
    """How often the job is tried in all; 1 is no retry."""
    delay: float = 1.0
    """Seconds before the first retry."""
    backoff: Literal["exponential", "fixed"] = "exponential"
    """`exponential` doubles the delay after each failure."""
    jitter: float = 1.0
    """How much of a delay is left to chance: 0 none, 1 all of it (full jitter)."""

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ConfigurationError(f"expected attempts of at least 1, got {self.attempts}")
        if not (math.isfinite(self.delay) and self.delay >= 0):
            raise ConfigurationError(f"expected a delay of 0 or more seconds, got {self.delay}")
        if not 0 <= self.jitter <= 1:
            raise ConfigurationError(f"expected a jitter from 0 to 1, got {self.jitter}")
        if self.backoff not in ("exponential", "fixed"):
            raise ConfigurationError(f"expected a backoff 'exponential' or 'fixed', got {self.backoff!r}")

    def delay_after(self, attempts_made: int, *, chance: float) -> float | None:
        """Seconds until the next try after this many failed ones, or None when there is none.

        Args:
            attempts_made: Failed tries so far, 1 after the first.
            chance: From 0 to 1, uniformly random.
        """
        if attempts_made >= self.attempts:
            return None
        longest = self.delay
        if self.backoff == "exponential":
            longest *= 2.0 ** min(attempts_made - 1, 64)
        longest = min(longest, _LONGEST_DELAY)
        return longest * (1 - self.jitter) + chance * longest * self.jitter

    def to_job_options(self) -> dict[str, object]:
        """BullMQ's job options for this policy (milliseconds)."""
        return {
            "attempts": self.attempts,
            "backoff": {"type": self.backoff, "delay": round(self.delay * 1000), "jitter": self.jitter},
        }

    @classmethod
    def from_job_options(cls, options: Mapping[str, object]) -> RetryPolicy:
        """What a job's own options say; what they leave out or garble is as BullMQ has it: one try, no delay."""
        attempts = _number(options.get("attempts"), default=1, least=1)
        backoff = options.get("backoff")
        if not isinstance(backoff, Mapping):
            return cls(attempts=int(attempts), delay=_seconds(backoff), backoff="fixed", jitter=0)
        return cls(
            attempts=int(attempts),
            delay=_seconds(backoff.get("delay")),
            backoff="fixed" if backoff.get("type") == "fixed" else "exponential",
            jitter=min(_number(backoff.get("jitter"), default=0, least=0), 1),
        )


def _number(value: object, *, default: float, least: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _LARGEST:
        return default
    return max(value, least)


def _seconds(milliseconds: object) -> float:
    return min(round(_number(milliseconds, default=0, least=0)) / 1000, _LONGEST_DELAY)
