"""SIGINT and SIGTERM as something to wait for."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["Shutdown"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Shutdown:
    """Catches the first two signals that ask the process to stop.

    What `signal.signal` had set before is restored at the end; a handler of the event loop's own can't be, and is gone.
    """

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self._urged = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._before: dict[signal.Signals, Callable[[int, FrameType | None], Any] | int] = {}

    async def asked(self) -> None:
        """Returns at the first signal."""
        await self._asked.wait()

    async def asked_or(self, end: Awaitable[object]) -> None:
        """Returns at the first signal, or when `end` comes before it; else `end` is cancelled."""
        await _either(self._asked, end)

    async def urged_or(self, end: Awaitable[object]) -> None:
        """Returns at the second signal, or when `end` comes before it; else `end` is cancelled."""
        await _either(self._urged, end)

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            before = signal.getsignal(number)
            self._loop.add_signal_handler(number, self._heard)
            # The loop has one and the same handler for all of its own: where that stood, it means nothing any more.
            if before is not None and before != signal.getsignal(number):
                self._before[number] = before
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None:
            for number in _SIGNALS:
                self._loop.remove_signal_handler(number)
                if number in self._before:
                    signal.signal(number, self._before[number])

    def _heard(self) -> None:
        (self._urged if self._asked.is_set() else self._asked).set()


async def _either(signalled: asyncio.Event, end: Awaitable[object]) -> None:
    hearing, ending = asyncio.ensure_future(signalled.wait()), asyncio.ensure_future(end)
    try:
        await asyncio.wait([hearing, ending], return_when=asyncio.FIRST_COMPLETED)
        if ending.done():
            ending.result()
    finally:
        hearing.cancel()
        ending.cancel()
