"""Keeps the loops of a worker, broker or messenger running: one that dies is started again, and never silently."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from hippo_messenger.backoff import Backoff
from hippo_messenger.errors import LayoutTooNewError, MessengerClosedError
from hippo_messenger.health import Health
from hippo_messenger.log import log
from hippo_messenger.observer import Observer

__all__ = ["Loop", "Supervision"]

Loop = Callable[[], Awaitable[None]]
"""Runs until it is cancelled or has nothing more to do; called again after a fault, it goes on where that left it."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
_SOUND = 10.0
"""A loop that has run for so many seconds (s) is sound again: its next fault is a first one."""


class Supervision:
    """The loops of one owner.

    A loop that ends with an error is logged with its trace, told to the observer, and started again after a pause that
    grows from 50 ms to 2 s. Two errors end it for good, since no restart helps there: `LayoutTooNewError`, and the
    `MessengerClosedError` of a connection that was closed under it. The other loops end with it, so that what the owner
    holds is found by those who can settle it.
    """

    def __init__(self, owner: str, *, observer: Observer) -> None:
        """Take the name that the owner has in logs, and an observer that doesn't raise."""
        self._owner = owner
        self._observer = observer
        self._fault: LayoutTooNewError | MessengerClosedError | None = None
        self._given_up = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def fault(self) -> LayoutTooNewError | MessengerClosedError | None:
        """Why a loop has ended for good; None where none has."""
        return self._fault

    def why_idle(self, *, started: bool, stopping: bool) -> str:
        """Why the owner doesn't run; empty where it does."""
        if self._fault is not None:
            return str(self._fault)
        if stopping:
            return "it was stopped"
        return "" if started else "it was not started yet"

    def start(self, name: str, loop: Loop) -> asyncio.Task[None]:
        """Run a loop in a task of its own, which ends when the loop returns, is cancelled, or one has given up."""
        task = asyncio.create_task(self._keep(name, loop), name=f"hippo-{self._owner}-{name}".replace(" ", "-"))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def watch(self, health: Callable[[], Health], *, every: float) -> asyncio.Task[None]:
        """Look at the owner's health every so many seconds, and say when it stops being ready, and when it is again."""
        return self.start("watch", lambda: self._watch(health, every))

    async def gave_up(self) -> None:
        """Returns when a loop has ended for good."""
        await self._given_up.wait()

    async def _keep(self, name: str, loop: Loop) -> None:
        backoff = Backoff(first=_FIRST_PAUSE, longest=_LONGEST_PAUSE)
        while True:
            started = time.monotonic()
            try:
                await loop()
                return
            except (LayoutTooNewError, MessengerClosedError) as error:
                log.error("%s: its %s has stopped for good: %s", self._owner, name, error)
                self._fault = error
                self._given_up.set()
                for task in self._tasks - {asyncio.current_task()}:
                    task.cancel()
                return
            except asyncio.CancelledError as error:
                if _is_cancelled():
                    raise
                fault: BaseException = error  # of something that the loop waited for, not of the loop
            except Exception as error:
                fault = error
            log.error("%s: its %s died of a fault and is started again", self._owner, name, exc_info=fault)
            self._observer.restarted(self._owner, loop=name, error=fault)
            if time.monotonic() - started > _SOUND:
                backoff.reset()
            await asyncio.sleep(backoff.next())

    async def _watch(self, health: Callable[[], Health], every: float) -> None:
        was_ready = True
        while True:
            await asyncio.sleep(every)
            found = health()
            if found.ready == was_ready or not found.alive:  # who was stopped is not to consume
                continue
            was_ready = found.ready
            if found.ready:
                log.warning("%s: consumes its queue again", self._owner)
                self._observer.ready(self._owner)
            else:
                log.error("%s: does not consume its queue: %s", self._owner, found.reason)
                self._observer.unready(self._owner, reason=found.reason)


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
