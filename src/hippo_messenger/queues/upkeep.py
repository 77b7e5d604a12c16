"""What keeps a queue sound while jobs are processed: locks are renewed, jobs of the dead are put back."""

from __future__ import annotations

import asyncio
import random

from hippo_messenger.log import log
from hippo_messenger.observer import Observer
from hippo_messenger.queues.delivery import QueuedJob, Taken
from hippo_messenger.queues.queue import Queue

__all__ = ["Upkeep"]

_SPREAD = 0.05
"""Of an interval; many workers of a queue need not all look at the same moment."""


class Upkeep:
    """Renews the locks of the jobs that are held, and looks for jobs whose worker died."""

    def __init__(self, queue: Queue, *, lock: float, check: float, max_stalls: int, observer: Observer) -> None:
        self._queue = queue
        self._lock = lock
        self._check = check
        self._max_stalls = max_stalls
        self._observer = observer
        self._held: dict[int, QueuedJob] = {}

    @property
    def held(self) -> tuple[QueuedJob, ...]:
        """The jobs that are held, the longest held first."""
        return tuple(self._held.values())

    def hold(self, taken: Taken) -> None:
        """Renew the locks of what was taken from now on, and say what of it is no job."""
        for job in taken.jobs:
            self._held[id(job)] = job
        for job_id in taken.broken:
            log.error("job %s of %s is gone or unreadable; it is put aside", job_id, self._queue.name)

    def let_go(self, job: QueuedJob, *, lost: bool = False) -> bool:
        """Renew a job's lock no more; whether it was held until now. Then, where it is lost, that is told: once."""
        was_held = self._held.pop(id(job), None) is not None
        if lost and was_held:
            self._observer.lock_lost(job.id, queue=self._queue.name)
        return was_held

    async def renew(self) -> None:
        """Renew the locks of what is held, three times in a lock's time, until cancelled."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            # From one due time to the next: a call takes long where a thread keeps the interpreter to itself.
            due = max(due + self._lock / 3, loop.time())
            await asyncio.sleep(due - loop.time())
            if not (held := self.held):
                continue
            for job in await self._queue.renew(held, lock=self._lock):
                if self.let_go(job, lost=True):
                    log.warning("%s: the lock of job %s is lost; it may be processed again", self._queue.name, job.id)

    async def recover(self) -> None:
        """Look for jobs whose worker died, until cancelled: one of the queue's workers does, once in an interval."""
        while True:
            recovered, fresh_for = await self._queue.recover(interval=self._check, max_stalls=self._max_stalls)
            if recovered:
                self._observer.recovered(recovered, queue=self._queue.name)
                log.warning("%s: %d jobs of a worker that died were put back", self._queue.name, len(recovered))
            # Not a whole interval: whoever has made the last check may be the one that dies before the next.
            await asyncio.sleep(fresh_for + self._check * _SPREAD * random.random())
