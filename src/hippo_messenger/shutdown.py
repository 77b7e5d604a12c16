"""SIGINT and SIGTERM as something to wait for."""

from __future__ import annotations

import asyncio
import signal
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

    async def urged(self) -> None:
        """Returns at the second."""
        await self._urged.wait()

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
