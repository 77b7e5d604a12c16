"""`hippo cancel`."""

from __future__ import annotations

from typing import Annotated

import typer

from hippo_messenger.cli.options import (
    CatalogueOption,
    PrefixOption,
    RedisOption,
    opened,
    read_catalogue,
    read_settings,
)
from hippo_messenger.cli.output import complain, run
from hippo_messenger.envelope import check_event_id
from hippo_messenger.queues.admin import Admin

__all__ = ["cancel"]


def cancel(
    event_id: Annotated[str, typer.Argument(metavar="EVENT_ID", help="What `send` printed.")],
    redis: RedisOption = None,
    prefix: PrefixOption = None,
    catalogue: CatalogueOption = None,
) -> None:
    """Take back an event that was sent with a delay and is not due yet, with its sender's own copy if there is one.

    It takes a catalogue as every command does, so that a script can give all of them the same; an id needs none.
    """
    settings = read_settings(prefix)
    read_catalogue(catalogue)
    wanted = check_event_id(event_id)

    async def take_back() -> bool:
        async with opened(redis, settings) as connection:
            return await Admin(connection, settings=settings).cancel(wanted)

    if not run(take_back()):
        complain(f"no delayed event {wanted} stands in the broker's queue: it is routed already, or was never sent")
        raise typer.Exit(1)
    print(f"{wanted} is cancelled")
