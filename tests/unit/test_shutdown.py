"""SIGINT and SIGTERM: caught for a while, and then again whose they were."""

from __future__ import annotations

import asyncio
import os
import signal

from hippo_messenger.shutdown import Shutdown


async def test_an_applications_own_handlers_are_restored_at_the_end() -> None:
    """Guards against a SIGTERM that killed a process which had a handler for it, once a worker had run there."""
    heard: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in before:
            signal.signal(number, lambda number, _: heard.append(number))
        with Shutdown() as shutdown:
            os.kill(os.getpid(), signal.SIGTERM)
            await shutdown.asked()
            assert heard == []

        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)

        assert heard == [signal.SIGTERM, signal.SIGINT]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def test_a_handler_of_the_event_loop_leaves_no_signal_that_is_ignored() -> None:
    loop = asyncio.get_running_loop()
    before = signal.getsignal(signal.SIGTERM)
    try:
        loop.add_signal_handler(signal.SIGTERM, print)
        with Shutdown():
            pass
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
