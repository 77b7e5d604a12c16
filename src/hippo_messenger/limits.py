"""What a service's workers may do together: how many jobs at a time, and how many in a period. Pure: no Redis."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hippo_messenger.errors import ConfigurationError

__all__ = ["RateLimit", "WorkLimits"]

_LARGEST = 10**15 - 1
"""Jobs or milliseconds: what our scripts take for a number, so that whatever Node has set can be said."""
_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}
_RATE = re.compile(r"(\d{1,10})/(\d{0,6})(s|min|h)")


@dataclass(frozen=True, slots=True)
class RateLimit:
    """So many jobs are begun in each period, over all workers of a service."""

    jobs: int
    period: float = 1.0
    """Seconds; a period begins with the first job in it."""

    def __post_init__(self) -> None:
        if isinstance(self.jobs, bool) or not isinstance(self.jobs, int) or not 1 <= self.jobs <= _LARGEST:
            raise ConfigurationError(f"expected a rate of 1 or more jobs in a period, got {self.jobs!r}")
        if not 0.001 <= self.period <= _LARGEST / 1000:
            raise ConfigurationError(f"expected a period of 0.001 seconds or more, got {self.period!r}")

    @classmethod
    def parse(cls, text: str) -> RateLimit:
        """A rate as one writes it: `100/s`, `10/min`, `5/30s`.

        Raises:
            ConfigurationError: It is none.
        """
        match = _RATE.fullmatch(text.replace(" ", ""))
        if match is None:
            raise ConfigurationError(f"expected a rate such as 100/s, 10/min, 1/h or 5/30s, got {text!r}")
        return cls(int(match[1]), int(match[2] or 1) * _UNITS[match[3]])

    def __str__(self) -> str:
        for unit, size in reversed(_UNITS.items()):
            if self.period % size == 0:
                return f"{self.jobs}/{'' if self.period == size else int(self.period // size)}{unit}"
        return f"{self.jobs}/{self.period:g}s"


@dataclass(frozen=True, slots=True)
class WorkLimits:
    """What all workers of a service may do together, in Python and Node; None is no limit.

    Kept where BullMQ keeps its global concurrency and global rate limit, so that stock workers keep to it too.
    """

    rate: RateLimit | None = None
    concurrency: int | None = None
    """How many jobs are processed at the same time; 0, which Node can set, lets none begin."""

    def __post_init__(self) -> None:
        count = self.concurrency
        if count is not None and (isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= _LARGEST):
            raise ConfigurationError(f"expected a concurrency of 0 or more, got {count!r}")

    def __str__(self) -> str:
        parts = [str(self.rate)] if self.rate else []
        parts += [f"{self.concurrency} at a time"] if self.concurrency is not None else []
        return ", ".join(parts) or "none"
