"""How a processor learns, in whatever thread it runs, that nobody waits for it any more."""

from __future__ import annotations

import threading

__all__ = ["Cancellation"]


class Cancellation:
    """Set once, from the event loop; may be looked at and waited for from any thread."""

    __slots__ = ("_guard", "_is_set", "_signal", "_was_seen")

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._signal: threading.Event | None = None  # most jobs are never waited on, and it costs more than they do
        self._is_set = False
        self._was_seen = False

    @property
    def is_set(self) -> bool:
        """Whether the job is cancelled; who is told so has seen it."""
        self._was_seen = self._was_seen or self._is_set
        return self._is_set

    @property
    def was_seen(self) -> bool:
        """Whether the processor knows that it is."""
        return self._was_seen

    def set(self) -> None:
        """Cancel the job, and wake who waits for that."""
        with self._guard:
            self._is_set = True
            if self._signal is not None:
                self._signal.set()

    def wait(self, timeout: float | None) -> bool:
        """Block this thread until the job is cancelled, or so many seconds; whether it is."""
        with self._guard:
            if self._signal is None:
                self._signal = threading.Event()
            if self._is_set:
                self._signal.set()
        self._signal.wait(timeout)
        return self.is_set
