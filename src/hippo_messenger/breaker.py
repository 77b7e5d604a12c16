"""When a processor that fails everything is given fewer jobs. Pure: the time and chance are arguments."""

from __future__ import annotations

from collections import deque
from typing import Literal

__all__ = ["Breaker", "BreakerState"]

BreakerState = Literal["closed", "open", "half-open"]

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
_PROBES = 3
"""So many probes in a row must succeed; they follow each other at once."""


class Breaker:
    """Closed, it lets everything through; open, one job now and then, a probe, until probes succeed.

    It opens when of the last attempts almost all have failed. A probe that fails doubles the pause to the next, from
    1 s to 30 s, with jitter. How the jobs end that were running when it opened says nothing new.
    """

    def __init__(self, *, attempts: int, failures: float) -> None:
        """Put one together, closed.

        Args:
            attempts: How many of the last attempts are looked at; before there are so many it stays closed. 0 is never
                opened.
            failures: Which part of them must have failed, from 0 to 1.
        """
        self._threshold = attempts * failures
        self._window: deque[bool] = deque(maxlen=attempts)
        self._failed = 0
        self._is_open = False
        self._pause = _FIRST_PAUSE
        self._due_at = 0.0
        self._probes: set[str] = set()
        self._succeeded = 0

    @property
    def state(self) -> BreakerState:
        """Half-open is open while a probe is under way."""
        if not self._is_open:
            return "closed"
        return "half-open" if self._probes else "open"

    @property
    def due_at(self) -> float:
        """When the next probe may be taken; only while it is open."""
        return self._due_at

    def room(self, free: int, *, now: float) -> int:
        """How many jobs may be taken, of so many that there are hands for."""
        if not self._is_open:
            return free
        return min(free, 1) if now >= self._due_at else 0

    def took(self, job_id: str, *, now: float) -> None:
        """While it is open: a probe has begun. One that has no end isn't waited for for ever."""
        if self._is_open:
            self._probes.add(job_id)
            self._due_at = now + _LONGEST_PAUSE

    def succeeded(self, job_id: str, *, now: float) -> None:
        """An attempt has succeeded."""
        if self._is_open:
            if job_id in self._probes:
                self._succeed(job_id, now)
        elif self._failed or len(self._window) < (self._window.maxlen or 0):
            self._remember(failed=False)

    def failed(self, job_id: str, *, now: float, chance: float) -> None:
        """An attempt has failed.

        Args:
            job_id: Of which job.
            now: Seconds, as everywhere here.
            chance: From 0 to 1, uniformly random.
        """
        if self._is_open:
            if job_id in self._probes:
                self._wait(min(self._pause * 2, _LONGEST_PAUSE), now=now, chance=chance)
        elif self._window.maxlen:
            self._remember(failed=True)
            if len(self._window) == self._window.maxlen and self._failed >= self._threshold:
                self._is_open = True
                self._wait(_FIRST_PAUSE, now=now, chance=chance)

    def ended(self, job_id: str, *, now: float) -> None:
        """A job has ended in whatever way; if that was none that says anything, the next probe may be taken."""
        if job_id in self._probes:
            self._probes.discard(job_id)
            self._due_at = now

    def _remember(self, *, failed: bool) -> None:
        if len(self._window) == self._window.maxlen:
            self._failed -= self._window[0]
        self._window.append(failed)
        self._failed += failed

    def _wait(self, pause: float, *, now: float, chance: float) -> None:
        self._pause = pause
        self._due_at = now + pause * (0.5 + 0.5 * chance)
        self._succeeded = 0
        self._probes.clear()

    def _succeed(self, job_id: str, now: float) -> None:
        self._probes.discard(job_id)
        self._due_at = now
        self._succeeded += 1
        if self._succeeded >= _PROBES:
            self._is_open, self._failed = False, 0
            self._window.clear()
            self._probes.clear()
