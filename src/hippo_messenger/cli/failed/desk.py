"""What the commands of `hippo failed` share: the options that say which letters are meant, and an open queue."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import typer

from hippo_messenger.catalogue.catalogue import Catalogue
from hippo_messenger.cli.options import (
    known_services,
    opened,
    read_catalogue,
    read_settings,
    registry_of,
    service_among,
    suggest_services,
)
from hippo_messenger.cli.output import duration
from hippo_messenger.errors import ConfigurationError
from hippo_messenger.queues.connection import Connection
from hippo_messenger.queues.dead_letters import DeadLetters, Selection
from hippo_messenger.queues.layout import BROKER_QUEUE, Layout, QueueKeys
from hippo_messenger.queues.letter_check import LetterCheck
from hippo_messenger.queues.redrive import Redrive
from hippo_messenger.settings import Settings

__all__ = [
    "AllOption",
    "Desk",
    "GroupOption",
    "IdArgument",
    "RejectedOption",
    "ServiceArgument",
    "age",
    "ago",
    "opened_desk",
    "selected",
    "suggest_queues",
]


def suggest_queues(context: typer.Context, incomplete: str) -> list[str]:
    """The services that begin like what is typed, and the broker."""
    names = suggest_services(context, incomplete)
    return [BROKER_QUEUE, *names] if incomplete and BROKER_QUEUE.startswith(incomplete) else names


ServiceArgument = Annotated[
    str,
    typer.Argument(
        metavar="SERVICE",
        help='The service whose dead letters are meant; "broker" is the broker.',
        autocompletion=suggest_queues,
    ),
]
IdArgument = Annotated[
    str | None, typer.Argument(metavar="ID", help="Only this one, by its job's id.", show_default=False)
]
GroupOption = Annotated[
    str | None,
    typer.Option("--group", metavar="GROUP", help="Only this group, as `hippo failed list` names it."),
]
AllOption = Annotated[bool, typer.Option("--all", help="All of the queue.")]
RejectedOption = Annotated[
    bool, typer.Option("--rejected", help="The records of events that were turned away at send instead.")
]


@dataclass(frozen=True)
class Desk:
    """The dead letters of one queue, and all that is needed to do something with them."""

    connection: Connection
    settings: Settings
    catalogue: Catalogue
    queue: str

    @property
    def keys(self) -> QueueKeys:
        """The keys of the queue."""
        return Layout(self.settings.prefix).queue(self.queue)

    @property
    def letters(self) -> DeadLetters:
        """To look at them, and to discard, export and import them."""
        return DeadLetters(self.connection, queue=self.queue, settings=self.settings)

    @property
    def redrive(self) -> Redrive:
        """To redrive them."""
        return Redrive(self.connection, queue=self.queue, settings=self.settings)

    @property
    def check(self) -> LetterCheck:
        """To judge them by the catalogue."""
        return LetterCheck(self.catalogue, queue=self.queue, max_bytes=self.settings.max_event_bytes)

    async def is_paused(self) -> bool:
        """Whether the queue is paused, as it pauses itself at the limit of dead letters."""
        return bool(await self.connection.execute("HEXISTS", self.keys.base + "meta", "paused"))


@asynccontextmanager
async def opened_desk(
    service: str | None, redis: str | None, catalogue: str | None, prefix: str | None
) -> AsyncIterator[list[Desk]]:
    """The queue that a user means; left out, every queue of a service that is known or registered, the broker's first.

    Raises:
        ConfigurationError: There is no such service; the message names close ones.
    """
    settings, known = read_settings(prefix), read_catalogue(catalogue)
    async with opened(redis, settings) as connection:
        queues = [BROKER_QUEUE, *await known_services(registry_of(connection, settings), known)]
        if service is not None:
            queues = [service_among(queues, service)]
        yield [Desk(connection, settings, known, queue) for queue in queues]


def selected(job_id: str | None, group: str | None, *, everything: bool, rejected: bool = False) -> Selection:
    """The letters that a user means.

    Raises:
        ConfigurationError: None are named, or in more ways than one.
    """
    if (job_id is not None) + (group is not None) + everything != 1:
        raise ConfigurationError("expected one of: the id of a dead letter, --group GROUP, or --all")
    return Selection(job_id=job_id, group=group, rejected=None if job_id is not None else rejected)


def age(time: datetime | None) -> str:
    """How long ago something was, in a column."""
    return duration(None if time is None else max((datetime.now(UTC) - time).total_seconds(), 0))


def ago(time: datetime | None) -> str:
    """How long ago something was, in a sentence."""
    return "at some time" if time is None else f"{age(time)} ago"
