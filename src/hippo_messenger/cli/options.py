"""The options that several commands share, and what is made of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from pydantic import ValidationError

from hippo_messenger.catalogue.catalogue import Catalogue
from hippo_messenger.errors import ConfigurationError, HippoError
from hippo_messenger.observer import Observer
from hippo_messenger.queues.call import Caller
from hippo_messenger.queues.connection import Connection
from hippo_messenger.queues.layout import Layout
from hippo_messenger.queues.registry import Registry
from hippo_messenger.settings import Settings

__all__ = [
    "CatalogueOption",
    "JsonOption",
    "PrefixOption",
    "RedisOption",
    "known_services",
    "member_of",
    "opened",
    "read_catalogue",
    "read_settings",
    "registry_of",
    "service_among",
    "suggest_events",
    "suggest_services",
]

RedisOption = Annotated[
    str | None,
    typer.Option(
        "--redis",
        metavar="URL",
        help='Where Redis is: redis://, rediss://, unix://, redis+sentinel://, redis+cluster:// or "embedded"; '
        "left out, HIPPO_REDIS_URL or REDIS_URL.",
        show_default=False,
    ),
]
CatalogueOption = Annotated[
    str | None,
    typer.Option(
        "--catalogue",
        metavar="MODULE:ATTRIBUTE",
        help="What may be said; left out, HIPPO_CATALOGUE or the shipped one.",
        show_default=False,
    ),
]
PrefixOption = Annotated[
    str | None,
    typer.Option(
        "--prefix",
        metavar="PREFIX",
        help="Before every key in Redis; left out, HIPPO_PREFIX or {hippo}.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Member = TypeVar("Member", bound=Enum)

_LONGEST_NAME = 80


@asynccontextmanager
async def opened(redis: str | None, settings: Settings) -> AsyncIterator[Connection]:
    """An open connection to the Redis that an option names."""
    connection = Connection.of(redis, settings=settings)
    try:
        await connection.open()
        yield connection
    finally:
        await connection.close()


def registry_of(connection: Connection, settings: Settings) -> Registry:
    """The registry under the prefix, for those who look."""
    return Registry(connection, Layout(settings.prefix), caller=Caller(connection, observer=Observer()))


def read_catalogue(address: str | None) -> Catalogue:
    """The catalogue that an option names; modules are also looked for in the working directory."""
    here = Path.cwd()
    return Catalogue.load(address, search_path=here) if address else Catalogue.from_environment(search_path=here)


def read_settings(prefix: str | None) -> Settings:
    """The settings of the environment, under a prefix that an option may name.

    Raises:
        ConfigurationError: No key may begin with this prefix.
    """
    settings = Settings.from_environment()
    if prefix is None:
        return settings
    try:
        return Settings.model_validate(settings.model_dump() | {"prefix": prefix})
    except ValidationError:
        raise ConfigurationError(
            f"expected a prefix without spaces and colons, such as {{hippo}}, got {prefix!r}"
        ) from None


def member_of(members: Iterable[Member], text: str, *, what: str) -> Member:
    """The member that a user means by its name or its wire name, in capitals or not.

    Raises:
        ConfigurationError: There is none; the message says what was expected, and names close ones.
    """
    known = list(members)
    for member in known:
        if text.casefold() in (member.name.casefold(), str(member.value).casefold()):
            return member
    raise _unknown(text, [member.name for member in known], what=what)


async def known_services(registry: Registry, catalogue: Catalogue) -> list[str]:
    """Every service that may be meant: of the catalogue, registered, or unregistered with jobs left; by name."""
    registered = (await registry.load()).by_service
    return sorted({*registered, *await registry.left_behind(), *(member.value for member in catalogue.services)})


def service_among(known: Iterable[str], text: str) -> str:
    """The service that a user means by its wire name, in capitals or not.

    Raises:
        ConfigurationError: There is none; the message names close ones.
    """
    names = sorted(known)
    for name in names:
        if text.casefold() == name.casefold():
            return name
    raise _unknown(text, names, what="a service of the catalogue or the registry")


def _unknown(text: str, known: Iterable[str], *, what: str) -> ConfigurationError:
    """For a shell's user, who types names and knows no enum."""
    shown = text if len(text) <= _LONGEST_NAME else text[:_LONGEST_NAME] + "…"
    names = {name.casefold(): name for name in sorted(known)}
    close = [names[match] for match in get_close_matches(shown.casefold(), names, n=3)]
    hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(names.values()) or 'none'}"
    return ConfigurationError(f"expected {what}, got {shown!r}; {hint}")


def suggest_events(context: typer.Context, incomplete: str) -> list[str]:
    """The event types that begin like what is typed, for the shell's completion."""
    known = _catalogue_of(context)
    names = [] if known is None else [event_type.value for event_type in known.event_types]
    return _beginning_with(incomplete, names)


def suggest_services(context: typer.Context, incomplete: str) -> list[str]:
    """The services that begin like what is typed, for the shell's completion."""
    known = _catalogue_of(context)
    names = [] if known is None else [service.value for service in known.services]
    return _beginning_with(incomplete, names)


def _beginning_with(incomplete: str, names: Iterable[str]) -> list[str]:
    """A shell takes only what begins exactly as it was typed, so a name in other letters is offered in those."""
    spelled = [
        name.lower() if incomplete.islower() else name.upper() if incomplete.isupper() else name for name in names
    ]
    return [name for name in spelled if name.startswith(incomplete)]


def _catalogue_of(context: typer.Context) -> Catalogue | None:
    try:
        return read_catalogue(context.params.get("catalogue"))
    except HippoError:  # a completion is no place for complaints
        return None
