"""SIGINT and SIGTERM as something to wait for."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable
from types import TracebackType
from typing import Self

__all__ = ["Shutdown"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Shutdown:
    """Catches the first two signals that ask the process to stop; what was set before is restored at the end."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self._urged = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

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
            self._loop.add_signal_handler(number, self._heard)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None:
            for number in _SIGNALS:
                self._loop.remove_signal_handler(number)

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
