"""`hippo failed edit`."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from hippo_messenger.cli.failed.desk import Desk, ServiceArgument, opened_desk
from hippo_messenger.cli.options import CatalogueOption, PrefixOption, RedisOption
from hippo_messenger.cli.output import complain, run
from hippo_messenger.cli.streams import read_stdin
from hippo_messenger.errors import ConfigurationError, EventError
from hippo_messenger.queues.letter_edit import LetterEdit

__all__ = ["edit"]

_STDIN = "-"


def edit(
    service: ServiceArgument,
    job_id: Annotated[str, typer.Argument(metavar="ID", help="The job's id.")],
    data: Annotated[
        str | None,
        typer.Argument(metavar="JSON", help="The event's new data; - reads stdin; left out, $EDITOR opens."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="PATH", help="Read it from a file.", show_default=False)
    ] = None,
    redis: RedisOption = None,
    catalogue: CatalogueOption = None,
    prefix: PrefixOption = None,
) -> None:
    """Give a dead letter new data, validated against the catalogue, and redrive it; the original stays in its history.

    Secrets are shown as `***`: where that is left, the secret stays as it was.
    """
    if data is not None and file is not None:
        raise ConfigurationError("expected the data as an argument or in a file, got both")

    async def change() -> str:
        async with opened_desk(service, redis, catalogue, prefix) as (desk,):
            letter = await desk.letters.letter(job_id)
            editing = LetterEdit(letter, desk.check)
            text = _read(data, file)
            new = _edited_by_hand(editing) if text is None else editing.edited(_parsed(text))
            if new is None:
                raise typer.Abort
            await desk.redrive.run_edited(letter, data=new, options=editing.options)
            return _done(desk, job_id)

    print(run(change()))


def _done(desk: Desk, job_id: str) -> str:
    return f"{job_id} has new data and is redriven in {desk.queue}; the original is in its history"


def _read(data: str | None, file: Path | None) -> str | None:
    if file is not None:
        try:
            return file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{file} can't be read: {error}") from None
    if data is None and not sys.stdin.isatty():
        raise ConfigurationError("expected the data as JSON: give it as an argument, with --file, or - for stdin")
    return read_stdin() if data == _STDIN else data


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"expected the data as a JSON object, got {text[:60]!r}: {error}") from None


def _edited_by_hand(editing: LetterEdit) -> bytes | None:
    """What came out of the editor, which opens again as long as that is invalid; None where it is given up."""
    text = before = editing.data_to_edit
    while True:
        text = _in_editor(text)
        if text.strip() in ("", before.strip()):
            complain("the data is as it was: nothing was changed; `hippo failed redrive` takes it as it is")
            return None
        try:
            return editing.edited(_parsed(text))
        except (EventError, ConfigurationError) as error:
            complain(str(error))
            if not typer.confirm("edit it again?", default=True):
                return None


def _in_editor(text: str) -> str:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with tempfile.TemporaryDirectory(prefix="hippo-") as directory:  # nobody else may look into it
        path = Path(directory) / "data.json"
        path.write_text(text + "\n", encoding="utf-8")
        try:
            with _keys_left_to_the_editor():
                code = subprocess.run([*shlex.split(editor), str(path)], check=False).returncode
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"the editor {editor!r} can't be started: {error}; set EDITOR") from None
        if code != 0:
            raise ConfigurationError(f"the editor {editor!r} ended with code {code}: nothing was changed")
        try:
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"what the editor {editor!r} left can't be read: {error}; nothing was changed"
            ) from None


@contextmanager
def _keys_left_to_the_editor() -> Iterator[None]:
    """Lets SIGINT and SIGQUIT pass, which a terminal sends to the command as well as to the editor that it has started.

    By a handler, since what is ignored would be ignored by the editor too.
    """
    if sys.platform == "win32":
        keys: tuple[signal.Signals, ...] = (signal.SIGINT,)
    else:
        keys = (signal.SIGINT, signal.SIGQUIT)
    before = [(key, signal.signal(key, lambda number, frame: None)) for key in keys]
    try:
        yield
    finally:
        for key, handler in before:
            signal.signal(key, handler)
