"""`hippo failed`: puts its subcommands together."""

from __future__ import annotations

import typer

from hippo_messenger.cli.failed.archive import export_letters, import_letters
from hippo_messenger.cli.failed.discard import discard
from hippo_messenger.cli.failed.edit import edit
from hippo_messenger.cli.failed.look import list_letters, show
from hippo_messenger.cli.failed.redrive import redrive

__all__ = ["failed"]

_MISUSED = 2

failed = typer.Typer(
    name="failed",
    help="Dead letters: look at them, redrive, edit, discard, export and import them.",
    invoke_without_command=True,
)
failed.command("list")(list_letters)
failed.command("show")(show)
failed.command("redrive")(redrive)
failed.command("edit")(edit)
failed.command("discard")(discard)
failed.command("export")(export_letters)
failed.command("import")(import_letters)


@failed.callback()
def options(context: typer.Context) -> None:
    """Dead letters: look at them, redrive, edit, discard, export and import them."""
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(_MISUSED)
