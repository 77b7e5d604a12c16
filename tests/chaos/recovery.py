"""How long it takes until work goes on: after Redis is back, after a worker was killed, after one was stopped. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from tests.chaos.account import Account
from tests.chaos.crew import Ending

__all__ = ["Recovery", "recoveries"]


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was measured of one thing, in seconds."""

    what: str
    target: float
    took: tuple[float, ...]

    @property
    def is_met(self) -> bool:
        return not self.took or max(self.took) <= self.target

    def __str__(self) -> str:
        if not self.took:
            return f"{self.what}: not seen in this run (target {self.target:g} s)"
        ordered = sorted(self.took)
        return (
            f"{self.what}: median {ordered[len(ordered) // 2]:.3f} s, longest {ordered[-1]:.3f} s "
            f"of {len(ordered):,} (target {self.target:g} s: {'met' if self.is_met else 'MISSED'})"
        )


def recoveries(account: Account, endings: Sequence[Ending], back: Sequence[float], *, lock: float) -> list[Recovery]:
    """The three; `lock` is a worker's lock and check interval together."""
    done = sorted(run.done for runs in account.runs.values() for run in runs if run.done is not None)
    killed = {ending.by: ending.at for ending in endings if ending.how == "killed"}
    cancelled = {(entry.by, entry.event_id): entry.at for entry in account.cancelled}
    after_kill, after_stop = [], []
    for (_, event_id), runs in account.runs.items():
        for run, following in zip(runs, runs[1:], strict=False):
            if run.done is None and run.by in killed and following.by != run.by:
                after_kill.append(following.began - killed[run.by])
            if (run.by, event_id) in cancelled and following.by != run.by:
                after_stop.append(following.began - cancelled[run.by, event_id])
    return [
        Recovery("Redis is back, until the next job is processed", 1.0, tuple(_waits(done, back))),
        Recovery("a worker was killed, until its jobs run elsewhere", lock, tuple(after_kill)),
        Recovery("a worker was stopped, until its jobs run elsewhere", 0.1, tuple(after_stop)),
    ]


def _waits(done: Sequence[float], back: Sequence[float]) -> list[float]:
    places = ((moment, bisect_left(done, moment)) for moment in back)
    return [done[place] - moment for moment, place in places if place < len(done)]


