"""What the delivery contract says of queues, in plain Python: no Redis, no scripts, no time but what the test says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

__all__ = ["Held", "Job", "ModelQueue", "ModelSystem"]

MOST_STALLS = 1


@dataclass(frozen=True)
class Held:
    """What a worker believes to have: a job, under the token it was taken with."""

    queue: str
    id: str
    token: str


@dataclass
class Job:
    """What is counted of one job."""

    priority: int = 0
    lifo: bool = False
    made: int = 0
    started: int = 0
    stalls: int = 0
    gives_up: bool = False
    """It stalled too often and is to fail when it is taken next."""


@dataclass
class ModelQueue:
    """One queue: each job is in exactly one of the lists."""

    jobs: dict[str, Job] = field(default_factory=dict)
    wait: list[str] = field(default_factory=list)
    """The head of the line first."""
    active: list[str] = field(default_factory=list)
    """The one that was taken first comes first."""
    locks: dict[str, str] = field(default_factory=dict)
    prioritized: list[tuple[int, int, str]] = field(default_factory=list)
    delayed: list[str] = field(default_factory=list)
    due: list[str] = field(default_factory=list)
    """Those of the delayed whose time has come, in that order."""
    completed: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    suspects: set[str] = field(default_factory=set)
    """What was active at the last check for stalled jobs."""
    paused: bool = False
    count: int = 0
    """BullMQ's counter of prioritised jobs: first come, first served within one priority."""

    def add(self, job_id: str, *, delayed: bool, priority: int, lifo: bool) -> None:
        self.jobs[job_id] = Job(priority=priority, lifo=lifo)
        if delayed:
            self.delayed.append(job_id)
        else:
            self._line_up(job_id, at_head=lifo)

    def take(self, token: str, most: int) -> list[str]:
        if most == 0:
            return []
        for job_id in self.due:
            self.delayed.remove(job_id)
            self._line_up(job_id)
        self.due = []
        if self.paused:
            return []
        taken: list[str] = []
        while len(taken) < most and (self.wait or self.prioritized):
            if self.wait:
                taken.append(self.wait.pop(0))
            else:
                taken.append(self.prioritized.pop(0)[2])
        if not self.wait and not self.prioritized and len(taken) < most:
            self.count = 0
        for job_id in taken:
            self.jobs[job_id].started += 1
            self.active.append(job_id)
            self.locks[job_id] = token
        return taken

    def take_again(self, token: str, most: int) -> list[str]:
        """The same call once more, because its reply was lost: what the token holds, or else as if it were new."""
        return [job_id for job_id in self.active if self.locks.get(job_id) == token] or self.take(token, most)

    def release(self, held: Iterable[Held]) -> list[bool]:
        """Whether each is still the holder's, and then it is no longer."""
        ours = []
        for one in held:
            ours.append(self.locks.get(one.id) == one.token)
            if ours[-1]:
                del self.locks[one.id]
                self.active.remove(one.id)
                self.suspects.discard(one.id)
        return ours

    def end(self, job_id: str, outcome: str) -> None:
        """What becomes of a job that was released; those that line up do so after all others have ended."""
        job = self.jobs[job_id]
        if outcome in ("completed", "failed", "retry", "retry later"):
            job.made += 1
        match outcome:
            case "completed":
                self.completed.append(job_id)
            case "failed":
                self.failed.append(job_id)
                job.gives_up = False
            case "retry later" | "later":
                self.delayed.append(job_id)
            case "back":
                if job.priority:
                    self._insert(job.priority, 0, job_id)
                else:
                    self.wait.insert(0, job_id)
            case "retry":
                self._line_up(job_id, at_head=job.lifo)

    def recover(self, order: Sequence[str]) -> None:
        """Put back what had no lock at two checks; the order among them is up to Redis."""
        for job_id in order:
            self.active.remove(job_id)
            self.wait.insert(0, job_id)
            job = self.jobs[job_id]
            job.stalls += 1
            job.gives_up = job.gives_up or job.stalls > MOST_STALLS
        self.suspects = set(self.active)

    @property
    def waits(self) -> bool:
        """Whether a take may bring something."""
        return bool(self.wait or self.prioritized or self.due)

    @property
    def stalled(self) -> set[str]:
        """What the next check puts back."""
        return {job_id for job_id in self.suspects if job_id not in self.locks and job_id in self.active}

    def _line_up(self, job_id: str, *, at_head: bool = False) -> None:
        priority = self.jobs[job_id].priority
        if priority:
            self.count += 1
            self._insert(priority, self.count, job_id)
        elif at_head:
            self.wait.insert(0, job_id)
        else:
            self.wait.append(job_id)

    def _insert(self, priority: int, place: int, job_id: str) -> None:
        self.prioritized.append((priority, place, job_id))
        self.prioritized.sort()


@dataclass
class ModelSystem:
    """The broker's queue, those of some services, and the duplicate window."""

    queues: dict[str, ModelQueue]
    seen: set[str] = field(default_factory=set)

    def publish(
        self, queue: str, job_id: str, *, delayed: bool, priority: int, lifo: bool, copy: bool, again: bool
    ) -> str:
        found, own = self.queues[queue], self.queues["order"]
        status = "added"
        if job_id in found.jobs:
            status = "failed" if job_id in found.failed and not again else "known"
        else:
            found.add(job_id, delayed=delayed, priority=priority, lifo=lifo)
        if copy and status != "failed" and job_id not in own.jobs and self._is_fresh(f"{job_id}self"):
            own.add(job_id, delayed=delayed, priority=priority, lifo=False)
        return status

    def settle(self, queue: str, endings: Sequence[tuple[Held, str]]) -> list[str]:
        found = self.queues[queue]
        ours = found.release(held for held, _ in endings)
        # A retry goes to the tail when everything else has found its place.
        ended = [(held.id, outcome) for (held, outcome), mine in zip(endings, ours, strict=True) if mine]
        is_lined_up = [
            outcome == "retry" and not found.jobs[job_id].priority and not found.jobs[job_id].lifo
            for job_id, outcome in ended
        ]
        for last in (False, True):
            for (job_id, outcome), lined_up in zip(ended, is_lined_up, strict=True):
                if lined_up == last:
                    found.end(job_id, outcome)
        return ["settled" if mine else "lost" for mine in ours]

    def settle_again(self, queue: str, endings: Sequence[tuple[Held, str]]) -> list[str]:
        """The same call once more, because its reply was lost: a job that has ended so is settled, others are lost."""
        found = self.queues[queue]
        ended = {
            "completed": found.completed,
            "failed": found.failed,
            "later": found.delayed,
            "retry later": found.delayed,
        }
        return ["settled" if held.id in ended.get(outcome, ()) else "lost" for held, outcome in endings]

    def route(self, events: Sequence[Held], services: Sequence[str]) -> list[str]:
        broker = self.queues["broker"]
        statuses = []
        for event in events:
            if broker.locks.get(event.id) != event.token:
                statuses.append("lost")
                continue
            if not self._is_fresh(event.id):
                statuses.append("duplicate")
                continue
            statuses.append("routed")
            for service in services:
                queue = self.queues[service]
                if event.id not in queue.jobs:
                    queue.add(event.id, delayed=False, priority=broker.jobs[event.id].priority, lifo=False)
        for event, mine in zip(events, broker.release(events), strict=True):
            if mine:
                broker.end(event.id, "completed")
        return statuses

    def _is_fresh(self, digest: str) -> bool:
        fresh = digest not in self.seen
        self.seen.add(digest)
        return fresh
