"""The words that scenarios are written in: each step is done by stock scripts on one side and by ours on the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = [
    "Add",
    "Command",
    "Deliver",
    "Discard",
    "Flow",
    "Job",
    "Limit",
    "Note",
    "Outcome",
    "Peer",
    "Recover",
    "Redrive",
    "Renew",
    "Settle",
    "Step",
    "Take",
    "back",
    "completed",
    "failed",
    "later",
    "retry",
]

MAIN, FIRST, SECOND = "broker", "account", "shipping"


@dataclass(frozen=True)
class Job:
    """A job to be added, with BullMQ's options; `opts` are stored, delay, priority and lifo also count."""

    id: str
    name: str = "ORDER_SUCCESS"
    data: str = '{"source":"order","n":1}'
    delay: int = 0
    priority: int = 0
    lifo: bool = False
    opts: Mapping[str, object] = field(default_factory=dict)
    parent: tuple[str, str] | None = None
    """Queue and id of the job that waits for this one; its options (fpof, cpof, idof, rdof) stand in `opts`."""
    scheduler: str | None = None

    @property
    def stored_opts(self) -> dict[str, object]:
        opts: dict[str, object] = {"attempts": 3, **self.opts}
        if self.delay:
            opts["delay"] = self.delay
        if self.priority:
            opts["priority"] = self.priority
        if self.lifo:
            opts["lifo"] = True
        return opts


@dataclass(frozen=True)
class Outcome:
    """How a job that was taken ends."""

    kind: Literal["completed", "failed", "retry", "later", "back"]
    id: str
    value: str = ""
    number: int = 0
    """Delay (ms), or the attempts allowed."""
    age: int | None = None
    count: int | None = None


def completed(job: str, value: str = '{"ok":true}', *, age: int | None = None, count: int | None = None) -> Outcome:
    return Outcome("completed", job, value, age=age, count=count)


def failed(
    job: str, reason: str = "it broke", *, attempts: int = 3, age: int | None = None, count: int | None = None
) -> Outcome:
    return Outcome("failed", job, reason, attempts, age=age, count=count)


def retry(job: str, *, delay: int = 0) -> Outcome:
    return Outcome("retry", job, "it broke", delay)


def later(job: str, *, delay: int) -> Outcome:
    return Outcome("later", job, number=delay)


def back(job: str) -> Outcome:
    return Outcome("back", job)


@dataclass(frozen=True, init=False)
class Add:
    """Add jobs to the queue; ours in one call."""

    jobs: tuple[Job, ...]

    def __init__(self, *jobs: Job) -> None:
        object.__setattr__(self, "jobs", jobs)


@dataclass(frozen=True)
class Take:
    """Take up to so many jobs; ours in one call."""

    count: int = 1
    worker: str = ""


@dataclass(frozen=True, init=False)
class Settle:
    """End jobs; ours in one call. With `fetch` the last outcome's call also takes the next job."""

    outcomes: tuple[Outcome, ...]
    fetch: bool

    def __init__(self, *outcomes: Outcome, fetch: bool = False) -> None:
        object.__setattr__(self, "outcomes", outcomes)
        object.__setattr__(self, "fetch", fetch)


@dataclass(frozen=True, init=False)
class Renew:
    """Renew the locks of these jobs."""

    jobs: tuple[str, ...]

    def __init__(self, *jobs: str) -> None:
        object.__setattr__(self, "jobs", jobs)


@dataclass(frozen=True)
class Recover:
    """One check for stalled jobs; earlier ones are no longer fresh."""

    max_stalls: int = 1


@dataclass(frozen=True)
class Note:
    """A line of a job's log, or its progress as JSON."""

    kind: Literal["log", "progress"]
    job: str
    words: str


@dataclass(frozen=True)
class Limit:
    """Pause the queue if it holds so many failed jobs."""

    failed: int


@dataclass(frozen=True, init=False)
class Deliver:
    """Finish taken jobs of the broker, each after a copy went into these service queues; ours in one call."""

    jobs: tuple[str, ...]
    services: tuple[str, ...]

    def __init__(self, *jobs: str, to: tuple[str, ...]) -> None:
        object.__setattr__(self, "jobs", jobs)
        object.__setattr__(self, "services", to)


@dataclass(frozen=True, init=False)
class Redrive:
    """Put failed jobs back into line with no attempt counted, in this order, the oldest first."""

    jobs: tuple[str, ...]

    def __init__(self, *jobs: str) -> None:
        object.__setattr__(self, "jobs", jobs)


@dataclass(frozen=True, init=False)
class Discard:
    """Remove failed jobs."""

    jobs: tuple[str, ...]

    def __init__(self, *jobs: str) -> None:
        object.__setattr__(self, "jobs", jobs)


@dataclass(frozen=True, init=False)
class Flow:
    """Stock scripts, on both sides: a parent in a queue, and children of it in the main queue."""

    queue: str
    parent: Job
    children: tuple[Job, ...]

    def __init__(self, queue: str, parent: Job, *children: Job) -> None:
        object.__setattr__(self, "queue", queue)
        object.__setattr__(self, "parent", parent)
        object.__setattr__(self, "children", children)


@dataclass(frozen=True, init=False)
class Peer:
    """Stock scripts, on both sides: jobs added by somebody who uses BullMQ itself."""

    jobs: tuple[Job, ...]

    def __init__(self, *jobs: Job) -> None:
        object.__setattr__(self, "jobs", jobs)


@dataclass(frozen=True, init=False)
class Command:
    """A plain command on both sides; its first key stands without prefix and queue."""

    words: tuple[str | int, ...]

    def __init__(self, *words: str | int) -> None:
        object.__setattr__(self, "words", words)


Step = Add | Take | Settle | Renew | Recover | Note | Limit | Deliver | Redrive | Discard | Flow | Peer | Command
