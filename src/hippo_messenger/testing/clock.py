"""Time travel for delays and retries: what waits in a queue is brought nearer, clocks stay as they are."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from typing import cast

from hippo_messenger.catalogue.catalogue import Catalogue
from hippo_messenger.catalogue.model import Service
from hippo_messenger.errors import ConfigurationError
from hippo_messenger.queues.connection import Connection, RedisSource
from hippo_messenger.queues.layout import BROKER_QUEUE, Layout
from hippo_messenger.queues.script import Script
from hippo_messenger.settings import Settings

__all__ = ["advance", "bring_nearer"]


async def advance(
    seconds: float,
    *,
    redis_connection: RedisSource | None = None,
    settings: Settings | None = None,
    catalogue: Catalogue | None = None,
) -> int:
    """Bring every delayed job nearer by so many seconds, where there is no `System`; how many there were.

    That is a delay asked for at `send`, a retry after a failure, and a job that was put back for later. Nothing else
    moves: locks, the duplicate window, how long finished jobs are kept, presence, the five-minute ticks of
    registrations, and every clock stay as they are.

    Args:
        seconds: 0 or more.
        redis_connection: As for `HippoMessenger`.
        settings: Of those whose jobs they are; left out, the defaults with the variables `HIPPO_*`.
        catalogue: Whose services have the queues; left out, `HIPPO_CATALOGUE` or Golden Hippo's.

    Raises:
        ConfigurationError: `seconds` is less than 0, or no Redis is named.
        RedisError: The call failed.
    """
    known = settings or Settings.from_environment()
    services = (catalogue or Catalogue.from_environment()).services
    connection = Connection.of(redis_connection, settings=known)
    try:
        return await bring_nearer(seconds, connection=connection, layout=Layout(known.prefix), services=services)
    finally:
        await connection.close()


async def bring_nearer(seconds: float, *, connection: Connection, layout: Layout, services: Iterable[Service]) -> int:
    """As `advance`, over a connection that there is.

    Raises:
        ConfigurationError: `seconds` is less than 0.
        RedisError: The call failed.
    """
    if seconds < 0:
        raise ConfigurationError(f"expected to advance by 0 or more seconds, got {seconds}")
    names = [layout.queue(queue).base for queue in (BROKER_QUEUE, *(service.value for service in services))]
    keys = [base + name for base in names for name in ("delayed", "marker")]
    script = Script("advance", (files("hippo_messenger.testing") / "advance.lua").read_text())
    return cast("int", await connection.script(script, keys, (round(seconds * 1000),)))
