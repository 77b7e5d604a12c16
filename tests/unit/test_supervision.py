"""A loop that dies is started again and reported; one that can't be helped ends for good, and its owner is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from hippo_messenger.errors import LayoutTooNewError
from hippo_messenger.health import Health
from hippo_messenger.observer import Observer
from hippo_messenger.supervision import Supervision


class Listening(Observer):
    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []
        self.changed = asyncio.Event()

    def restarted(self, owner: str, *, loop: str, error: BaseException) -> None:
        self._note(loop, repr(error))

    def unready(self, owner: str, *, reason: str) -> None:
        self._note("unready", reason)

    def ready(self, owner: str) -> None:
        self._note("ready", "")

    def _note(self, what: str, why: str) -> None:
        self.heard.append((what, why))
        self.changed.set()


def dying(times: int, error: Callable[[], BaseException]) -> Callable[[], Awaitable[None]]:
    """A loop that dies so many times, and then returns."""
    left = [times]

    async def loop() -> None:
        await asyncio.sleep(0)
        if left[0]:
            left[0] -= 1
            raise error()

    return loop


async def foreign_cancellation() -> None:
    """Waits for something that is cancelled by somebody else, which is no cancellation of the loop."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


async def test_a_loop_that_dies_is_started_again_and_reported_with_its_trace(caplog: pytest.LogCaptureFixture) -> None:
    observer = Listening()
    supervision = Supervision("worker of account", observer=observer)

    await supervision.start("processing", dying(3, lambda: ValueError("a fault")))

    assert observer.heard == [("processing", "ValueError('a fault')")] * 3
    assert supervision.fault is None
    assert "worker of account: its processing died of a fault and is started again" in caplog.text
    assert "Traceback" in caplog.text


async def test_a_foreign_cancellation_is_a_fault_and_its_own_is_none() -> None:
    observer = Listening()
    supervision = Supervision("worker of account", observer=observer)

    task = supervision.start("processing", foreign_cancellation)
    await observer.changed.wait()
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert {what for what, _ in observer.heard} == {"processing"}


async def test_a_newer_layout_ends_a_loop_for_good_and_tells_the_owner(caplog: pytest.LogCaptureFixture) -> None:
    observer = Listening()
    supervision = Supervision("message broker", observer=observer)

    task = supervision.start("routing", dying(1, lambda: LayoutTooNewError("newer")))
    await supervision.gave_up()

    await task
    assert isinstance(supervision.fault, LayoutTooNewError)
    assert observer.heard == []
    assert "its routing has stopped for good: newer" in caplog.text


async def test_who_stops_consuming_is_reported_once_and_so_is_who_consumes_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    observer = Listening()
    supervision = Supervision("worker of account", observer=observer)
    stopped = Health(alive=False, last_poll_age=1, redis_ok=True, reason="it was stopped")
    healths = [Health(alive=True, last_poll_age=1, redis_ok=True, reason=reason) for reason in ("", "old", "old", "")]
    healths.insert(0, stopped)

    def health() -> Health:
        return healths.pop(0) if len(healths) > 1 else healths[0]

    task = supervision.watch(health, every=0.001)
    while len(observer.heard) < 2:
        await observer.changed.wait()
        observer.changed.clear()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert observer.heard == [("unready", "old"), ("ready", "")]
    assert "does not consume its queue: old" in caplog.text
