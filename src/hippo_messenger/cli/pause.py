"""`hippo pause` and `hippo resume`."""

from __future__ import annotations

from typing import Annotated

import typer

from hippo_messenger.cli.options import (
    CatalogueOption,
    PrefixOption,
    RedisOption,
    known_services,
    opened,
    read_catalogue,
    read_settings,
    registry_of,
    service_among,
    suggest_services,
)
from hippo_messenger.cli.output import run
from hippo_messenger.queues.admin import Admin
from hippo_messenger.queues.layout import BROKER_QUEUE

__all__ = ["pause", "resume"]

_Queue = Annotated[
    str,
    typer.Argument(
        metavar="SERVICE",
        help='The service whose queue is meant; "broker" is the broker\'s.',
        autocompletion=suggest_services,
    ),
]


def pause(
    service: _Queue, redis: RedisOption = None, catalogue: CatalogueOption = None, prefix: PrefixOption = None
) -> None:
    """Let no worker take a job of this service until it is resumed; jobs in hand are finished, new ones arrive."""
    queue, changed = run(_set(service, redis, catalogue, prefix, paused=True))
    print(f"{queue} is paused: `hippo resume {queue}` lets it go on" if changed else f"{queue} was paused already")


def resume(
    service: _Queue, redis: RedisOption = None, catalogue: CatalogueOption = None, prefix: PrefixOption = None
) -> None:
    """Let workers take the jobs of a paused service again."""
    queue, changed = run(_set(service, redis, catalogue, prefix, paused=False))
    print(f"{queue} goes on" if changed else f"{queue} was not paused")


async def _set(
    service: str, redis: str | None, catalogue: str | None, prefix: str | None, *, paused: bool
) -> tuple[str, bool]:
    settings = read_settings(prefix)
    async with opened(redis, settings) as connection:
        admin = Admin(connection, settings=settings)
        known = await known_services(registry_of(connection, settings), read_catalogue(catalogue))
        queue = service_among([BROKER_QUEUE, *known], service)
        return queue, await (admin.pause(queue) if paused else admin.resume(queue))
