"""The prefix that a demo has for itself: taken where nothing else stands under it, and swept at the end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hippo_messenger.errors import ConfigurationError
from hippo_messenger.queues.connection import Connection
from hippo_messenger.queues.layout import BROKER_QUEUE, Layout
from hippo_messenger.queues.overview import Overview

__all__ = ["claimed"]

_MARK = "a demo's: whatever begins like this may go"
_SHOWN = 3
_LATELY = 60.0
"""Whoever was heard of within so many seconds may be at work."""


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
    """Take the prefix. The mark is set only where nothing else stands: what stands beside it is a demo's."""
    if await connection.execute("EXISTS", _mark(layout)):
        await _make_sure_that_nobody_works(connection, layout)
        await _sweep(connection, layout)
    async for keys in _keys(connection, layout):
        if keys:
            found = await _what(connection, layout, sorted(key.decode(errors="replace") for key in keys))
            raise ConfigurationError(
                f"expected a prefix for the demo with nothing under it, found {found} under {layout.prefix}, which "
                "stays as it is; name another with --prefix, or none"
            )
    if await connection.execute("SET", _mark(layout), _MARK, "NX") is None:
        raise ConfigurationError(_taken(layout, "it has begun just now"))


async def _make_sure_that_nobody_works(connection: Connection, layout: Layout) -> None:
    for standing in await Overview(connection, layout).standings():
        if standing.workers:
            what = "brokers" if standing.queue == BROKER_QUEUE else f"workers of {standing.queue}"
            raise ConfigurationError(_taken(layout, f"{standing.workers} {what} are connected"))
        if standing.last_heard is not None and standing.last_heard < _LATELY:
            raise ConfigurationError(_taken(layout, f"{standing.queue} was heard of {standing.last_heard:.0f} s ago"))


def _taken(layout: Layout, why: str) -> str:
    return (
        f"expected a prefix for the demo with nothing under it, but another demo runs under {layout.prefix} ({why}); "
        "wait for its end, or name another with --prefix"
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
    cursor = b"0"
    while True:
        words = ("SCAN", cursor, "MATCH", layout.pattern, "COUNT", 1000)
        reply = await connection.execute(*words, beside=_mark(layout))
        assert isinstance(reply, list)
        cursor, keys = reply
        yield keys
        if cursor == b"0":
            return


def _mark(layout: Layout) -> str:
    return f"{layout.prefix}:demo"
