"""`hippo demo`."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import Annotated

import typer

from hippo_messenger.catalogue.catalogue import Catalogue
from hippo_messenger.catalogue.golden_hippo import CATALOGUE
from hippo_messenger.cli.options import JsonOption, read_catalogue, read_settings
from hippo_messenger.cli.output import console, print_json, run
from hippo_messenger.demo.feed import read_feed, shipped_feed
from hippo_messenger.demo.report import LiveTable, as_record, summary
from hippo_messenger.demo.roster import require_all
from hippo_messenger.demo.run import run_demo

__all__ = ["demo"]


def demo(
    feed: Annotated[
        Path | None,
        typer.Option("--input", metavar="FILE", help="Your own events, one JSON object a line.", show_default=False),
    ] = None,
    events: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Only the first so many events.", show_default=False)
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(metavar="N", min=0.1, help="Events a second; left out, as fast as it goes.", show_default=False),
    ] = None,
    redis: Annotated[
        str | None,
        typer.Option(
            "--redis",
            metavar="URL",
            help="A Redis that runs already; left out, an embedded server of its own.",
            show_default=False,
        ),
    ] = None,
    catalogue: Annotated[
        str | None,
        typer.Option(
            "--catalogue",
            metavar="MODULE:ATTRIBUTE",
            help="One that has Golden Hippo's services and events, and what the feed says besides; left out, "
            "Golden Hippo's own.",
            show_default=False,
        ),
    ] = None,
    prefix: Annotated[
        str | None,
        typer.Option(
            "--prefix",
            metavar="PREFIX",
            help="Before every key of the demo, where no other key begins so; left out, one of its own.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Send some thousand events through two brokers to the workers of four services, and account for every one.

    Runs on an embedded server of its own, unless --redis names another; there it removes whatever it wrote. Exit code 0
    says that nothing is missing and nothing double.
    """
    known = _catalogue(catalogue)
    settings = read_settings(prefix or f"{{hippo-demo-{secrets.token_hex(4)}}}")
    feed_file = feed or shipped_feed()
    lines = read_feed(feed_file, catalogue=known, limit=events)
    terminal = console()
    if not as_json:
        terminal.print("[bold]hippo demo[/]  2 brokers, 4 services, 5 workers, 1 canary with its workers off\n")
    with LiveTable(terminal, is_shown=terminal.is_terminal and not as_json) as table:
        try:
            outcome = run(
                run_demo(
                    feed=lines,
                    feed_file=feed_file,
                    rate=rate,
                    redis=redis,
                    settings=settings,
                    catalogue=catalogue,
                    on_progress=table.show,
                )
            )
        except asyncio.CancelledError:  # Ctrl-C, SIGTERM or SIGHUP
            raise typer.Abort from None
    if as_json:
        print_json(as_record(outcome))
    else:
        terminal.print(summary(outcome, is_drawn=terminal.is_terminal), soft_wrap=not terminal.is_terminal)
        if rate is None:
            terminal.print("[dim]Sent as fast as it goes, so events wait in line; --rate 200 shows a calm day.[/]")
    raise typer.Exit(1 if outcome.faults else 0)


def _catalogue(address: str | None) -> Catalogue:
    """The shipped one whatever HIPPO_CATALOGUE says: who has a catalogue of their own wants to see the demo too."""
    if address is None:
        return CATALOGUE
    catalogue = read_catalogue(address)
    require_all(catalogue)
    return catalogue
