"""`hippo unregister`."""

from __future__ import annotations

from typing import Annotated

import typer

from hippo_messenger.cli.options import (
    PrefixOption,
    RedisOption,
    known_service,
    opened,
    read_settings,
    suggest_services,
)
from hippo_messenger.cli.output import duration, run
from hippo_messenger.errors import ConfigurationError
from hippo_messenger.queues.admin import Admin
from hippo_messenger.queues.layout import Layout
from hippo_messenger.queues.overview import Overview
from hippo_messenger.settings import Settings

__all__ = ["unregister"]


def unregister(
    service: Annotated[
        str, typer.Argument(help="The service that gets no more events.", autocompletion=suggest_services)
    ],
    force: Annotated[bool, typer.Option("--force", help="Also where the service was heard of just now.")] = False,
    redis: RedisOption = None,
    prefix: PrefixOption = None,
) -> None:
    """Take a service out of the registry: it gets no new events. Its queue and the jobs in it stay as they are."""
    settings = read_settings(prefix)
    name, left = run(_remove(service, redis, settings, force=force))
    print(f"{name} gets no more events; {left:,} jobs in its queue stay for its workers")


async def _remove(service: str, redis: str | None, settings: Settings, *, force: bool) -> tuple[str, int]:
    async with opened(redis, settings) as connection:
        admin = Admin(connection, settings=settings)
        name = known_service(service, await admin.registered())
        standings = await Overview(connection, Layout(settings.prefix)).standings()
        standing = next((entry for entry in standings if entry.queue == name), None)
        heard = None if standing is None else standing.last_heard
        if heard is not None and heard < 2 * settings.presence_interval and not force:
            raise ConfigurationError(
                f"{name} was heard of {duration(heard)} ago: a messenger that runs registers it again. Stop it first, "
                "or use --force"
            )
        await admin.unregister(name)
        left = 0 if standing is None else standing.waiting + standing.active + standing.delayed
        return name, left
