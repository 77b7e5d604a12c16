"""The options that several commands share, and what is made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from hippo_messenger.catalogue.catalogue import Catalogue
from hippo_messenger.settings import Settings

__all__ = ["CatalogueOption", "PrefixOption", "RedisOption", "member_of", "read_catalogue", "read_settings"]

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
Member = TypeVar("Member", bound=Enum)


def read_catalogue(address: str | None) -> Catalogue:
    """The catalogue that an option names; modules are also looked for in the working directory."""
    here = Path.cwd()
    return Catalogue.load(address, search_path=here) if address else Catalogue.from_environment(search_path=here)


def read_settings(prefix: str | None) -> Settings:
    """The settings of the environment, under a prefix that an option may name."""
    settings = Settings.from_environment()
    return settings if prefix is None else Settings.model_validate(settings.model_dump() | {"prefix": prefix})


def member_of(members: Iterable[Member], text: str, *, unknown: Callable[[str, list[str]], Exception]) -> Member:
    """The member that a user means by its name or its wire name, in capitals or not.

    Raises:
        Exception: What `unknown` makes of the text and the names there are.
    """
    known = list(members)
    for member in known:
        if text.casefold() in (member.name.casefold(), str(member.value).casefold()):
            return member
    raise unknown(text, [member.name for member in known])
