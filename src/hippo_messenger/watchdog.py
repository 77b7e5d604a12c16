"""Notices an event loop that has stopped turning, and says which processor holds it."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from hippo_messenger.log import log
from hippo_messenger.observer import Observer

__all__ = ["Culprit", "Watchdog"]

_DEPTH = 20
"""How many frames of the loop's stack are told, the innermost ones."""
_SECOND_CHANCE = 0.1
"""How long (s) a loop that is in no task may take to answer after all: the whole process may have been stopped."""


@dataclass(frozen=True, slots=True)
class Culprit:
    """Whose turn it is on the event loop."""

    processor: str
    event_type: str
    job_id: str


@dataclass(frozen=True, slots=True)
class _Sight:
    """What the loop's thread is at, at one moment."""

    culprit: Culprit | None
    is_in_a_task: bool
    stack: str


class Watchdog:
    """Asks the loop for a sign of life from a thread of its own, about twice in the time that it tolerates.

    It costs the loop one callback for each sign, whatever is processed. It tells once of each time that the loop is
    held up, once more when that has lasted longer than a lock, and the observer when it is over.
    """

    def __init__(
        self,
        *,
        queue: str,
        tolerance: float,
        lock: float,
        observer: Observer,
        culprit: Callable[[asyncio.Task[object]], Culprit | None],
    ) -> None:
        """Put one together.

        Args:
            queue: Whose worker it is.
            tolerance: Seconds that the loop may be held up; 0 is no watching at all.
            lock: Seconds after which the worker's locks are over.
            observer: Told of each time that the loop was held up.
            culprit: Which job a task is processing; called from the watchdog's thread.
        """
        self._queue = queue
        self._tolerance = tolerance
        self._lock = lock
        self._observer = observer
        self._culprit = culprit
        self._stopped = threading.Event()
        self._turned = threading.Event()

    def start(self) -> None:
        """Watch the running loop, from a thread that doesn't keep the process alive."""
        if self._tolerance <= 0:
            return
        loop, loop_thread = asyncio.get_running_loop(), threading.get_ident()
        threading.Thread(
            target=self._watch, args=(loop, loop_thread), name=f"hippo-{self._queue}-watchdog", daemon=True
        ).start()

    def stop(self) -> None:
        """Watch no more; may be called again."""
        self._stopped.set()
        self._turned.set()

    def _watch(self, loop: asyncio.AbstractEventLoop, loop_thread: int) -> None:
        try:
            while not self._stopped.wait(self._tolerance / 2):
                self._turned.clear()
                asked_at = time.monotonic()
                loop.call_soon_threadsafe(self._turned.set)
                if not self._turned.wait(self._tolerance):
                    self._held_up(loop, loop_thread, asked_at)
        except RuntimeError:  # the loop is closed
            return

    def _held_up(self, loop: asyncio.AbstractEventLoop, loop_thread: int, since: float) -> None:
        sight = self._look(loop, loop_thread)
        if self._stopped.is_set() or (not sight.is_in_a_task and self._turned.wait(_SECOND_CHANCE)):
            return
        self._tell(sight)
        if not self._turned.wait(max(since + self._lock - time.monotonic(), 0)):
            self._tell_of_locks(sight)
            self._turned.wait()
        if not self._stopped.is_set():
            loop.call_soon_threadsafe(self._tell_observer, sight.culprit, time.monotonic() - since)

    def _look(self, loop: asyncio.AbstractEventLoop, loop_thread: int) -> _Sight:
        task = asyncio.current_task(loop)
        # Its name begins like that because it is meant for tools such as this one.
        frame = sys._current_frames().get(loop_thread)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
        stack = "" if frame is None else _innermost(traceback.extract_stack(frame))
        return _Sight(None if task is None else self._culprit(task), task is not None, stack)

    def _tell(self, sight: _Sight) -> None:
        log.warning(
            "%s: the event loop has not turned for %g s: %s; meanwhile this process renews no lock and takes no job. "
            "Await what takes long, or make the processor a plain function, which runs in a thread. It is at\n%s",
            self._queue,
            self._tolerance,
            _said(sight.culprit),
            sight.stack,
        )

    def _tell_of_locks(self, sight: _Sight) -> None:
        log.error(
            "%s: the event loop has not turned for longer than a lock lasts (%g s): %s; every job of this worker now "
            "counts as that of a dead one, and may be processed a second time elsewhere",
            self._queue,
            self._lock,
            _said(sight.culprit),
        )

    def _tell_observer(self, culprit: Culprit | None, seconds: float) -> None:
        event_type, job_id = ("", "") if culprit is None else (culprit.event_type, culprit.job_id)
        self._observer.blocked(event_type, queue=self._queue, job_id=job_id, seconds=seconds)


def _innermost(frames: traceback.StackSummary) -> str:
    """What the loop has called; how the loop itself was started is left out."""
    loops = [place for place, frame in enumerate(frames) if frame.filename == asyncio.events.__file__]
    called = frames[loops[-1] + 1 :] if loops else frames
    return "".join(traceback.format_list(called[-_DEPTH:]))


def _said(culprit: Culprit | None) -> str:
    if culprit is None:
        return "it is held by something else than a processor of this worker"
    return f"{culprit.processor} holds it with job {culprit.job_id} ({culprit.event_type})"
