"""`hippo failed discard`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, TextIO

import typer

from hippo_messenger.cli.failed.desk import (
    AllOption,
    GroupOption,
    IdArgument,
    RejectedOption,
    ServiceArgument,
    opened_desk,
    selected,
)
from hippo_messenger.cli.options import CatalogueOption, PrefixOption, RedisOption
from hippo_messenger.cli.output import complain, run
from hippo_messenger.errors import ConfigurationError
from hippo_messenger.queues.dead_letters import Discarded
from hippo_messenger.queues.letter import Letter
from hippo_messenger.queues.letter_archive import LetterArchive

__all__ = ["discard", "new_file"]

_OWNER_ONLY = 0o600


def discard(
    service: ServiceArgument,
    reason: Annotated[str, typer.Option("--reason", metavar="WORDS", help="Why nobody needs them; it is recorded.")],
    job_id: IdArgument = None,
    group: GroupOption = None,
    everything: AllOption = False,
    rejected: RejectedOption = False,
    export: Annotated[
        Path | None,
        typer.Option("--export", metavar="PATH", help="Write each to this new file first.", show_default=False),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    redis: RedisOption = None,
    catalogue: CatalogueOption = None,
    prefix: PrefixOption = None,
) -> None:
    """Remove dead letters for good; `hippo failed import` puts back what --export has written."""
    selection = selected(job_id, group, everything=everything, rejected=rejected)
    if job_id is None and not yes and sys.stdin.isatty():
        which = f"the group {group}" if group is not None else "all rejected events" if rejected else "all dead letters"
        typer.confirm(f"discard {which} of {service}, for good?", abort=True)

    async def remove() -> tuple[str, Discarded]:
        async with opened_desk(service, redis, catalogue, prefix) as (desk,):
            with _keeping(export, LetterArchive(desk.keys)) as keep:
                return desk.queue, await desk.letters.discard(selection, reason=reason, keep=keep)

    queue, discarded = run(remove())
    print(f"{discarded.count:,} of {queue} discarded, {discarded.total:,} so far")
    if export is not None:
        complain(f"they are in {export}: `hippo failed import {queue} {export}` puts them back")


@contextmanager
def _keeping(path: Path | None, archive: LetterArchive) -> Iterator[Callable[[Sequence[Letter]], None] | None]:
    """What writes letters to a file, and makes sure that they are there."""
    if path is None:
        yield None
        return
    with new_file(path) as file:

        def keep(letters: Sequence[Letter]) -> None:
            file.writelines(archive.to_lines(letters))
            file.flush()
            os.fsync(file.fileno())

        yield keep


@contextmanager
def new_file(path: Path) -> Iterator[TextIO]:
    """A new file that only its owner may read, since there are secrets in it; gone where it fails before it has any.

    Raises:
        ConfigurationError: It is there already, or can't be made.
        OSError: It can't be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY)
    except FileExistsError:
        raise ConfigurationError(f"expected the path of a new file, got {path}, which is there already") from None
    except OSError as error:
        raise ConfigurationError(f"{path} can't be written: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            yield file
    except BaseException as error:
        with suppress(OSError):
            if path.stat().st_size == 0:
                path.unlink()  # so that the command can be said again
        if isinstance(error, OSError) and error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise
