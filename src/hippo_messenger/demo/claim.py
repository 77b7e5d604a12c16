"""The prefix that a demo has for itself: taken where nothing else stands under it, and swept at the end."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hippo_messenger.errors import ConfigurationError
from hippo_messenger.queues.connection import Connection
from hippo_messenger.queues.layout import BROKER_QUEUE, Layout
from hippo_messenger.queues.overview import Overview

__all__ = ["claimed"]

_MARK = "a demo's: whatever begins like this may go"
_GLOB = re.compile(r"([\\*?\[\]])")
_SHOWN = 3


@asynccontextmanager
async def claimed(connection: Connection, layout: Layout) -> AsyncIterator[None]:
    """Have everything under this prefix to oneself for the block; nothing is left under it.

    What a demo has left that was killed is swept first.

    Raises:
        ConfigurationError: Something else stands under it, which is left as it is.
    """
    await _make_sure_that_it_is_free(connection, layout)
    try:
        yield
    finally:
        await _sweep(connection, layout)


async def _make_sure_that_it_is_free(connection: Connection, layout: Layout) -> None:
    if await connection.execute("SET", _mark(layout), _MARK, "NX") is None:
        await _make_sure_that_no_demo_runs(connection, layout)
        await _sweep(connection, layout)
        await connection.execute("SET", _mark(layout), _MARK)
        return
    async for keys in _keys(connection, layout):
        others = sorted(key.decode(errors="replace") for key in keys if key != _mark(layout).encode())
        if others:
            await connection.execute("UNLINK", _mark(layout))
            raise ConfigurationError(
                f"expected a prefix for the demo with nothing under it, found {await _what(connection, layout, others)}"
                f" under {layout.prefix}, which stays as it is; name another with --prefix, or none"
            )


async def _make_sure_that_no_demo_runs(connection: Connection, layout: Layout) -> None:
    standings = await Overview(connection, layout).standings()
    brokers = next(standing.workers for standing in standings if standing.queue == BROKER_QUEUE)
    if brokers:
        raise ConfigurationError(
            f"expected a prefix for the demo with nothing under it, but another demo runs under {layout.prefix} "
            f"({brokers} brokers are connected); wait for its end, or name another with --prefix"
        )


async def _what(connection: Connection, layout: Layout, keys: list[str]) -> str:
    """What stands there, in words that its owner knows."""
    standings = await Overview(connection, layout).standings()
    services = [standing.queue for standing in standings if standing.queue != BROKER_QUEUE]
    if services:
        return f"the registrations of {', '.join(services)}"
    return f"keys such as {', '.join(keys[:_SHOWN])}"


async def _sweep(connection: Connection, layout: Layout) -> None:
    """Remove every key under the prefix, the mark last: what is left after a kill is known for a demo's."""
    mark = _mark(layout).encode()
    async for keys in _keys(connection, layout):
        others = [key for key in keys if key != mark]
        if others:
            await connection.execute("UNLINK", *others)
    await connection.execute("UNLINK", mark)


async def _keys(connection: Connection, layout: Layout) -> AsyncIterator[list[bytes]]:
    pattern = _GLOB.sub(r"\\\1", layout.prefix) + ":*"
    cursor = b"0"
    while True:
        words = ("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)
        reply = await connection.execute(*words, beside=_mark(layout))
        assert isinstance(reply, list)
        cursor, keys = reply
        yield keys
        if cursor == b"0":
            return


def _mark(layout: Layout) -> str:
    return f"{layout.prefix}:demo"
