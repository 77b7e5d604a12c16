"""`hippo dev`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Annotated

import typer
from rich.markup import escape

from hippo_messenger.broker import HippoBroker
from hippo_messenger.cli.options import CatalogueOption, PrefixOption, opened, read_catalogue, read_settings
from hippo_messenger.cli.output import console, print_json, run, show_logs
from hippo_messenger.queues.embedded import EmbeddedServer
from hippo_messenger.settings import Settings

__all__ = ["dev"]

_EMBEDDED = "embedded"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the broker of a developer works."""

    redis: str
    """Its URL; without user and password where it is not ours."""
    prefix: str
    embedded: bool


def dev(
    redis: Annotated[
        str | None,
        typer.Option(
            "--redis",
            metavar="URL",
            help="A Redis that runs already, for the broker to work beside; left out, the embedded server.",
            show_default=False,
        ),
    ] = None,
    catalogue: CatalogueOption = None,
    prefix: PrefixOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Say where it is as JSON, for scripts.")] = False,
) -> None:
    """Run an embedded server and a broker for this project until Ctrl-C, and say how to connect.

    With --redis the broker works beside that Redis, and no server is started.
    """
    show_logs()
    known, settings = read_catalogue(catalogue), read_settings(prefix)

    async def serve() -> None:
        async with _server(redis, settings) as (url, place):
            print_json(asdict(place)) if as_json else _say_how_to_connect(place)
            await HippoBroker(redis_connection=url, catalogue=known, settings=settings).run()

    run(serve())


@asynccontextmanager
async def _server(redis: str | None, settings: Settings) -> AsyncIterator[tuple[str, _Place]]:
    """The URL for the broker, and what may be shown of it."""
    if redis is None or redis.strip() == _EMBEDDED:
        async with EmbeddedServer.shared() as server:
            yield server.url, _Place(server.url, settings.prefix, embedded=True)
    else:
        async with opened(redis, settings) as connection:
            yield redis, _Place(connection.description, settings.prefix, embedded=False)


def _say_how_to_connect(place: _Place) -> None:
    terminal = console()
    if place.embedded:
        terminal.print("[bold]A server and a broker for this project[/], until Ctrl-C; the data stays in .hippo/\n")
        rows = _ways_to_the_embedded(place)
    else:
        where = escape(place.redis)
        terminal.print(f"[bold]A broker beside the Redis at {where}[/], until Ctrl-C; no server is started\n")
        rows = _ways_to_another(place)
    for who, words in rows:
        terminal.print(f"  [bold]{who:<8}[/]{escape(words)}", soft_wrap=True)
    terminal.print()


def _ways_to_the_embedded(place: _Place) -> list[tuple[str, str]]:
    path = place.redis.removeprefix("unix://")
    return [
        ("Python", f'HippoMessenger(..., redis_connection="{place.redis}")'),
        ("", 'or redis_connection="embedded", from anywhere in this project'),
        ("Shell", f"export HIPPO_REDIS_URL={place.redis}{_prefix_variable(place)}"),
        ("Node", f"new IORedis('{path}', {{ maxRetriesPerRequest: null }})"),
        ("", f"new Queue('broker', {{ connection, prefix: '{place.prefix}' }})"),
        ("Look", f"hippo services --redis embedded{_prefix_option(place)}"),
    ]


def _ways_to_another(place: _Place) -> list[tuple[str, str]]:
    """With the URL that was given, which may have a password and is not repeated."""
    return [
        ("Python", "HippoMessenger(..., redis_connection=URL), with the URL that you gave"),
        ("Shell", f"export HIPPO_REDIS_URL=URL{_prefix_variable(place)}"),
        ("Node", "new IORedis(URL, { maxRetriesPerRequest: null })"),
        ("", f"new Queue('broker', {{ connection, prefix: '{place.prefix}' }})"),
        ("Look", f"hippo services --redis URL{_prefix_option(place)}"),
    ]


def _prefix_variable(place: _Place) -> str:
    """What everybody has to set beside the URL, where the prefix isn't the one that is taken anyway."""
    return "" if place.prefix == Settings().prefix else f" HIPPO_PREFIX='{place.prefix}'"


def _prefix_option(place: _Place) -> str:
    """The same for a command that is not told by variables."""
    return "" if place.prefix == Settings().prefix else f" --prefix '{place.prefix}'"
