"""Time travel for delays and retries: what waits in a queue is brought nearer, clocks stay as they are."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from typing import cast

from hippo_messenger.errors import ConfigurationError
from hippo_messenger.queues.connection import Connection
from hippo_messenger.queues.layout import Layout
from hippo_messenger.queues.script import Script

__all__ = ["advance"]


async def advance(seconds: float, *, connection: Connection, layout: Layout, queues: Iterable[str]) -> int:
    """Bring every delayed job of these queues nearer by so many seconds; how many there were.

    That is a delay asked for at `send`, a retry after a failure, and a job that was put back for later. Nothing else
    moves: locks, the duplicate window, how long finished jobs are kept, presence, the five-minute ticks of
    registrations, and every clock stay as they are.

    Raises:
        ConfigurationError: `seconds` is less than 0.
        RedisError: The call failed.
    """
    if seconds < 0:
        raise ConfigurationError(f"expected to advance by 0 or more seconds, got {seconds}")
    names = [layout.queue(queue).base for queue in queues]
    keys = [base + name for base in names for name in ("delayed", "marker")]
    script = Script("advance", (files("hippo_messenger.testing") / "advance.lua").read_text())
    return cast("int", await connection.script(script, keys, (round(seconds * 1000),)))
