"""`hippo failed export` and `hippo failed import`."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from hippo_messenger.cli.failed.desk import (
    Desk,
    GroupOption,
    IdArgument,
    RejectedOption,
    ServiceArgument,
    opened_desk,
    selected,
)
from hippo_messenger.cli.failed.discard import new_file
from hippo_messenger.cli.options import CatalogueOption, PrefixOption, RedisOption
from hippo_messenger.cli.output import complain, run
from hippo_messenger.errors import ConfigurationError, DeadLetterError
from hippo_messenger.queues.letter import Letter
from hippo_messenger.queues.letter_archive import LetterArchive

__all__ = ["export_letters", "import_letters"]

_AT_A_TIME = 200
_STDIN = "-"


def export_letters(
    service: ServiceArgument,
    job_id: IdArgument = None,
    group: GroupOption = None,
    rejected: RejectedOption = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="PATH", help="Into this new file; left out, to stdout."),
    ] = None,
    redis: RedisOption = None,
    catalogue: CatalogueOption = None,
    prefix: PrefixOption = None,
) -> None:
    """Write dead letters as lines of JSON, whole and with their secrets.

    One by its ID, one group, or else the whole queue.
    """
    selection = selected(job_id, group, everything=job_id is None and group is None, rejected=rejected)

    async def write() -> int:
        count = 0
        async with opened_desk(service, redis, catalogue, prefix) as (desk,):
            archive = LetterArchive(desk.keys)
            with nullcontext(sys.stdout) if output is None else new_file(output) as file:
                async for page in desk.letters.pages(selection, fields=("*",), with_logs=True):
                    lines = list(archive.to_lines(page))
                    file.writelines(lines)
                    count += len(lines)
                file.flush()  # what is not written is not exported
        return count

    complain(f"{run(write()):,} exported")


def import_letters(
    service: ServiceArgument,
    file: Annotated[str, typer.Argument(metavar="FILE", help="What was exported; - reads stdin.")],
    redis: RedisOption = None,
    catalogue: CatalogueOption = None,
    prefix: PrefixOption = None,
) -> None:
    """Put exported dead letters back as they were; those that are there already are left alone.

    A line that is none is refused by its number, and the others are imported; the exit code is 1 then.
    """

    async def read() -> tuple[int, int, int]:
        async with opened_desk(service, redis, catalogue, prefix) as (desk,):
            with _opened(file) as lines:
                return await _import(desk, lines)

    imported, known, refused = run(read())
    words = (f"{imported:,} imported", f"{known:,} there already" if known else "", f"{refused:,} refused")
    print(", ".join(word for word in words if word))
    if refused:
        raise typer.Exit(1)


async def _import(desk: Desk, lines: BinaryIO) -> tuple[int, int, int]:
    """How many were imported, were there already, and were refused."""
    archive, batch = LetterArchive(desk.keys), list[Letter]()
    counts = {True: 0, False: 0}
    refused = 0

    async def restore(letters: Sequence[Letter]) -> None:
        for is_new in await desk.letters.restore(letters):
            counts[is_new] += 1

    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            batch.append(archive.from_line(line))
        except DeadLetterError as error:
            complain(f"line {number} is refused: {error}")
            refused += 1
        if len(batch) == _AT_A_TIME:
            await restore(batch)
            batch = []
    await restore(batch)
    return counts[True], counts[False], refused


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    if file == _STDIN:
        yield sys.stdin.buffer
        return
    try:
        opened = Path(file).open("rb")  # noqa: SIM115 - closed below; what is read from it may fail otherwise
    except OSError as error:
        raise ConfigurationError(f"{file} can't be read: {error.strerror}") from None
    with opened:
        yield opened
