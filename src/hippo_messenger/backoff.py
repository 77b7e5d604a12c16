"""Pauses between tries: each twice as long as the one before, up to a longest, and shortened by chance; pure."""

from __future__ import annotations

import random

__all__ = ["Backoff"]


class Backoff:
    """The pauses of one row of failures; chance keeps those that failed together from coming back together."""

    def __init__(self, *, first: float, longest: float) -> None:
        """Begin a row.

        Args:
            first: The first pause in seconds, before chance takes up to half of it away.
            longest: What no pause goes beyond.
        """
        self._first = first
        self._longest = longest
        self._next = first

    def next(self) -> float:
        """How long (s) to pause now."""
        pause = self._next
        self._next = min(pause * 2, self._longest)
        return pause * random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """It works again: the next row begins with the first pause."""
        self._next = self._first
