"""Whether a worker or broker consumes its queue: what it says to probes, and how it knows."""

from __future__ import annotations

import time
from dataclasses import dataclass

__all__ = ["Health", "Pulse"]


@dataclass(frozen=True, slots=True)
class Health:
    """A worker or broker at one moment."""

    alive: bool
    """It was started, was not stopped, and none of its loops has given up."""
    last_poll_age: float | None
    """How many seconds ago it last asked its queue for work and got an answer; None if it never did."""
    redis_ok: bool
    """The last command to Redis was answered."""
    reason: str = ""
    """Why it is not ready; empty where it is."""

    @property
    def ready(self) -> bool:
        """It takes work: what a readiness probe asks."""
        return not self.reason


class Pulse:
    """When a loop last polled its queue, and whether that is too long ago."""

    def __init__(self, *, limit: float) -> None:
        """Take the longest time (s) that may pass between two polls."""
        self._limit = limit
        self._last: float | None = None

    def beat(self) -> None:
        """It has polled just now, or has only now got something to poll for."""
        self._last = time.monotonic()

    def health(self, *, stopped: str, redis_ok: bool, excused: bool = False) -> Health:
        """The health of whoever has this pulse.

        Args:
            stopped: Why it doesn't run at all; empty where it does.
            redis_ok: Whether Redis answers.
            excused: It has all the work that it has room for, so it needn't poll.
        """
        age = None if self._last is None else time.monotonic() - self._last
        if stopped:
            reason = stopped
        elif not redis_ok:
            reason = "Redis gives no answer"
        elif not excused and (age is None or age > self._limit):
            reason = f"it has not polled its queue for {'ever' if age is None else f'{age:.1f} s'}"
        else:
            reason = ""
        return Health(alive=not stopped, last_poll_age=age, redis_ok=redis_ok, reason=reason)
