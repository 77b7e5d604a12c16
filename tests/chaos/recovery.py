"""How long it takes until work goes on: after Redis is back, after a worker was killed, after one was stopped. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tests.chaos.account import RECOVERING, Account
from tests.chaos.crew import Ending
from tests.chaos.faults import REDIS, Fault
from tests.chaos.roster import LISTENERS, ROSTER

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


def recoveries(
    account: Account, endings: Sequence[Ending], faults: Sequence[Fault], back: Sequence[float], *, lock: float
) -> list[Recovery]:
    """The three; `lock` is a worker's lock and check interval together.

    Left out is what something else has held up too: a fault of Redis or of another worker, or that none was there.
    """
    done = sorted(run.done for runs in account.runs.values() for run in runs if run.done is not None)
    killed = {ending.by: ending.at for ending in endings if ending.how == "killed"}
    cancelled = {(entry.by, entry.event_id): entry.at for entry in account.cancelled}
    after_kill: list[float] = []
    after_stop: list[float] = []
    for (service, event_id), runs in account.runs.items():
        in_order = sorted(runs, key=lambda run: run.began)
        for run, following in pairwise(in_order) if service in LISTENERS else ():
            stopped = cancelled.get((run.by, event_id))
            end = killed.get(run.by) if stopped is None else stopped
            if run.done is not None or run.has_raised or end is None or following.by == run.by or following.began < end:
                continue
            if not _is_held_up(run.by, end, following.began, faults):
                (after_kill if stopped is None else after_stop).append(following.began - end)
    return [
        Recovery("Redis is back, until the next job is processed", 1.0, tuple(_waits(done, back, faults))),
        Recovery("a worker was killed, until its jobs run elsewhere", lock, tuple(after_kill)),
        Recovery("a worker was stopped, until its jobs run elsewhere", 0.1, tuple(after_stop)),
    ]


def _is_held_up(by: str, since: float, until: float, faults: Sequence[Fault]) -> bool:
    name = by.partition(".")[0]
    workers = {part.name for part in ROSTER if part.kind in {"worker", "node"}}
    return any(
        fault.began <= until
        and fault.ended + RECOVERING >= since
        and bool((workers - {name}) & set(fault.targets) or REDIS in fault.targets)
        for fault in faults
    )


def _waits(done: Sequence[float], back: Sequence[float], faults: Sequence[Fault]) -> Iterator[float]:
    """From each return of Redis to the next job that was processed, where it didn't go again before."""
    for moment in back:
        place = bisect_left(done, moment)
        if place < len(done) and not any(
            REDIS in fault.targets and moment < fault.began < done[place] for fault in faults
        ):
            yield done[place] - moment
