"""`hippo send`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

import typer

from hippo_messenger.catalogue.model import EventType, Service
from hippo_messenger.cli.options import (
    CatalogueOption,
    PrefixOption,
    RedisOption,
    member_of,
    read_catalogue,
    read_settings,
    suggest_events,
    suggest_services,
)
from hippo_messenger.cli.output import run
from hippo_messenger.cli.streams import read_stdin
from hippo_messenger.errors import ConfigurationError
from hippo_messenger.messenger import HippoMessenger

__all__ = ["send"]

_STDIN = "-"


def send(
    event: Annotated[
        str,
        typer.Argument(metavar="EVENT", help="The event type, such as ORDER_SUCCESS.", autocompletion=suggest_events),
    ],
    data: Annotated[str, typer.Argument(metavar="JSON", help="Its data as a JSON object; - reads stdin.")],
    sender: Annotated[
        str,
        typer.Option("--from", metavar="SERVICE", help="The service that sends it.", autocompletion=suggest_services),
    ],
    event_id: Annotated[
        str | None,
        typer.Option(
            "--id",
            metavar="ID",
            help="The event's id (a UUID or 16-64 letters, digits, - and _); left out, a new one. Sending it again "
            "under the same id delivers once.",
        ),
    ] = None,
    delay: Annotated[float, typer.Option(metavar="SECONDS", help="How long before it is routed.")] = 0,
    priority: Annotated[int, typer.Option(metavar="N", help="0 goes first, then 1 and so on.")] = 0,
    expires: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Seconds, or a time in RFC 3339, after which nobody wants it.")
    ] = None,
    notify_self: Annotated[bool, typer.Option("--notify-self", help="A copy for the sender too.")] = False,
    redis: RedisOption = None,
    catalogue: CatalogueOption = None,
    prefix: PrefixOption = None,
) -> None:
    """Send one event, and print its id."""
    known = read_catalogue(catalogue)
    event_type: EventType = member_of(known.event_types, event, what="an event type of the catalogue")
    service: Service = member_of(known.services, sender, what="a service of the catalogue")
    expiry = None if expires is None else _expiry(expires)
    fields = _fields(read_stdin() if data == _STDIN else data)

    async def send_it() -> str:
        messenger = HippoMessenger(
            service_name=service, redis_connection=redis, catalogue=known, settings=read_settings(prefix)
        )
        async with messenger:
            # A mistake in the address is told at once, not after the time that a send may take.
            await messenger.connection.open()
            return await messenger.send(
                event_type=event_type,
                data=fields,
                event_id=event_id,
                delay=delay,
                priority=priority,
                notify_self=notify_self,
                expires=expiry,
            )

    print(run(send_it()))


def _expiry(text: str) -> float | datetime:
    for read in (float, datetime.fromisoformat):
        try:
            return read(text)
        except ValueError:
            pass
    raise ConfigurationError(
        f"expected --expires in seconds, or as a time such as 2026-01-02T03:04:05Z, got {text[:60]!r}"
    )


def _fields(text: str) -> Mapping[str, object]:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"expected the data as a JSON object, got {text[:60]!r}: {error}") from None
    if not isinstance(fields, dict):
        raise ConfigurationError(f"expected the data as a JSON object, got {text[:60]!r}")
    return fields
