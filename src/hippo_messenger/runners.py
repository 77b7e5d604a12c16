"""Runs the jobs of a worker at the same time, and makes a task only for those that wait for something."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterable
from contextvars import copy_context
from typing import Any

from hippo_messenger.log import log
from hippo_messenger.queues.delivery import Outcome, QueuedJob

__all__ = ["Runners"]


class Runners:
    """Tasks that take jobs from one line: each runs one after the other, until a job waits for something.

    That job has the task to itself from then on, and another task goes on with the line at once: no job is held up by
    one that waits. Every job runs in a context of its own, so that what a processor sets there is seen by no other.
    """

    def __init__(
        self,
        process: Callable[[QueuedJob], Coroutine[Any, Any, Outcome]],
        *,
        ended: Callable[[QueuedJob, Outcome], None],
    ) -> None:
        """Put them together; `ended` is called once for every job that is started."""
        self._process = process
        self._ended = ended
        self._line: deque[QueuedJob] = deque()
        self._running: dict[asyncio.Task[None], QueuedJob] = {}
        self._cancelled: set[asyncio.Task[None]] = set()
        self._next: asyncio.Task[None] | None = None
        self._bytes = 0

    def __len__(self) -> int:
        """How many jobs were started and have not ended."""
        return len(self._line) + len(self._running)

    @property
    def bytes(self) -> int:
        """How large those are."""
        return self._bytes

    def job_of(self, task: asyncio.Task[Any]) -> QueuedJob | None:
        """What a task works at, if it is one of these."""
        return self._running.get(task)

    def start(self, jobs: Iterable[QueuedJob]) -> None:
        """Run jobs, in this order, from the loop's next turn on."""
        for job in jobs:
            self._line.append(job)
            self._bytes += len(job.data)
        self._go_on()

    async def finish(self, *, within: float) -> None:
        """Wait until all have ended, but no longer than so many seconds."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within
        while len(self) and (left := deadline - loop.time()) > 0:
            self._go_on()
            tasks = {*self._running} if self._next is None else {*self._running, self._next}
            await asyncio.wait(tasks, timeout=left, return_when=asyncio.FIRST_COMPLETED)

    async def cancel(self, *, within: float) -> None:
        """End all: what has not begun is to be put back, and what is cancelled too, unless it ends after all.

        A processor that ignores it is left to itself after so many seconds.
        """
        waiting = tuple(self._line)
        self._line.clear()
        tasks = tuple(self._running)
        for task in tasks:
            if task not in self._cancelled:  # a second time would interrupt its cleaning up
                self._cancelled.add(task)
                task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=within)
        for task in tasks:
            if (job := self._running.pop(task, None)) is not None:
                log.error("the processor of job %s ignores its cancellation; the job is put back all the same", job.id)
                self._end(job, Outcome.back(job))
        for job in waiting:
            self._end(job, Outcome.back(job))

    def _go_on(self) -> None:
        """See to it that somebody is there for what stands in line."""
        if self._line and (self._next is None or self._next.done()):  # the latter cancelled before it began
            self._next = asyncio.create_task(self._run())

    async def _run(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._next = None
        while self._line:
            job = self._line.popleft()
            self._go_on()  # before it may come to wait
            self._running[task] = job
            turn = _Turn(self._process(job))
            try:
                outcome = await turn
            except asyncio.CancelledError:
                outcome = Outcome.back(job)
            except (KeyboardInterrupt, SystemExit):  # the loop is left; what is to become of it, others decide
                if self._running.pop(task, None) is not None:
                    self._end(job, Outcome.back(job))
                raise
            except BaseException as fault:  # a job that didn't end would be locked for as long as the worker lives
                log.exception("a fault of the worker itself, at job %s", job.id)
                outcome = Outcome.failed(job, f"a fault of the worker itself: {fault!r}")
            if self._running.pop(task, None) is None:  # it was put back already
                return
            self._end(job, outcome)
            if turn.has_waited or task.cancelling():  # the latter by the job itself; it is no other's matter
                return

    def _end(self, job: QueuedJob, outcome: Outcome) -> None:
        self._bytes -= len(job.data)
        self._ended(job, outcome)


class _Turn:
    """Awaits a coroutine in a copy of the context, and notes whether that had to wait for anything."""

    __slots__ = ("_coroutine", "has_waited")

    def __init__(self, coroutine: Coroutine[Any, Any, Outcome]) -> None:
        self._coroutine = coroutine
        self.has_waited = False

    def __await__(self) -> Generator[Any, Any, Outcome]:
        coroutine, run = self._coroutine, copy_context().run
        try:
            waits_for = run(coroutine.send, None)
            self.has_waited = True
            while True:
                try:
                    answer = yield waits_for
                except BaseException as error:
                    waits_for = run(coroutine.throw, error)
                else:
                    waits_for = run(coroutine.send, answer)
        except StopIteration as end:
            outcome: Outcome = end.value
            return outcome
