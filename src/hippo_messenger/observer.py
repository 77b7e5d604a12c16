"""What may be observed of messengers, brokers and workers; the default looks away."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from hippo_messenger.clash import Clash
from hippo_messenger.errors import HippoError
from hippo_messenger.log import log

__all__ = ["Observer", "guarded"]

_SILENCE = 60.0
"""For so long (s) one call that raises again is not logged again: it may be made for every event."""


class Observer:
    """Told what happens, as it happens, on the event loop: it must be quick. What it raises is logged.

    This one looks away. Derive from it, and override what you want to hear of; what later versions add you won't miss.
    """

    def sent(self, event_type: str, *, origin: str) -> None:
        """Redis has accepted an event."""

    def rejected(self, event_type: str, *, origin: str) -> None:
        """An event was turned away before it was sent, because of its data, its size or its id."""

    def routed(self, event_type: str, *, origin: str, services: tuple[str, ...]) -> None:
        """The broker has put one copy of an event into the queue of each of these services."""

    def duplicate(self, event_type: str, *, origin: str) -> None:
        """The broker has seen this event before and has delivered nothing."""

    def held(self, event_type: str, *, origin: str, services: tuple[str, ...]) -> None:
        """The broker has put an event back for a while, since these services have as many jobs as they take."""

    def clashed(self, clash: Clash) -> None:
        """Two deployments register one service in turn, each undoing what the other said."""

    def expired(self, event_type: str, *, origin: str, queue: str) -> None:
        """An event was past its expiry: not delivered (in the broker's queue), or not processed (in a service's)."""

    def parked(self, event_type: str, *, service: str, reason: str) -> None:
        """A copy could not be delivered and waits among the broker's failed jobs."""

    def settled(self, event_type: str, *, queue: str, outcome: str) -> None:
        """A processor is through with a job, or the broker has ended one without routing it.

        Args:
            event_type: The job's name.
            queue: Where it stands.
            outcome: `completed`, `failed`, `retry` (to be tried again), `later` (put back for a while: nobody can
                process it yet, or it was held) or `back` (put back to the head of the line: its worker stops).
        """

    def lock_lost(self, job_id: str, *, queue: str) -> None:
        """A job's lock went to somebody else while it was processed: it may be processed again."""

    def blocked(self, event_type: str, *, queue: str, job_id: str, seconds: float) -> None:
        """The event loop was held up for so long by a processor of this event; by something else where it is empty."""

    def breaker(self, state: str, *, queue: str) -> None:
        """A worker's breaker is `open` (its processor fails everything), `half-open` (one job is tried) or `closed`."""

    def recovered(self, job_ids: tuple[str, ...], *, queue: str) -> None:
        """Jobs of a worker that died were put back."""

    def trouble(self, error: HippoError) -> None:
        """A call failed and will be tried again."""

    def restarted(self, owner: str, *, loop: str, error: BaseException) -> None:
        """A loop of a worker, broker or messenger died of a fault and is started again; `owner` is as in the log."""

    def unready(self, owner: str, *, reason: str) -> None:
        """A worker or broker does not consume its queue, though it was started and not stopped."""

    def ready(self, owner: str) -> None:
        """It consumes its queue again."""


def guarded(observer: Observer | None) -> Observer:
    """Tells an observer, and survives what it raises; whoever is told things in the middle of a job needs no other.

    Calls that it doesn't override cost what they would without it.
    """
    guard = Observer()
    for name, silent in vars(Observer).items():
        tell = getattr(observer, name, None)
        if not name.startswith("_") and tell is not None and getattr(tell, "__func__", None) is not silent:
            setattr(guard, name, _surviving(tell, name))
    return guard


def _surviving(tell: Callable[..., None], name: str) -> Callable[..., None]:
    logged_at = -math.inf

    def call(*told: object, **more: object) -> None:
        nonlocal logged_at
        try:
            tell(*told, **more)
        except Exception:
            now = time.monotonic()
            if now - logged_at >= _SILENCE:
                logged_at = now
                log.exception("the observer raised at %s; what it was told has happened all the same", name)

    return call
