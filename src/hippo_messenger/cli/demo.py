"""`hippo demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hippo_messenger.cli.options import RedisOption
from hippo_messenger.cli.output import console, run
from hippo_messenger.demo.feed import read_feed, shipped_feed
from hippo_messenger.demo.report import LiveTable, summary
from hippo_messenger.demo.run import run_demo

__all__ = ["demo"]


def demo(
    feed: Annotated[
        Path | None,
        typer.Option("--input", metavar="FILE", help="Your own events, one JSON object a line.", show_default=False),
    ] = None,
    events: Annotated[
        int | None, typer.Option(min=1, help="Only the first so many events.", show_default=False)
    ] = None,
    rate: Annotated[
        float | None, typer.Option(min=0.1, help="Events a second; left out, as fast as it goes.", show_default=False)
    ] = None,
    redis: RedisOption = None,
) -> None:
    """Send some thousand events through two brokers to the workers of four services, and account for every one.

    Runs on an embedded server of its own, unless --redis names another. Exit code 0 says that nothing is missing and
    nothing double.
    """
    feed_file = feed or shipped_feed()
    lines = read_feed(feed_file, limit=events)
    terminal = console()
    terminal.print("[bold]hippo demo[/]  2 brokers, 4 services, 5 workers, 1 canary with its workers off\n")
    with LiveTable(terminal) as table:
        outcome = run(
            run_demo(
                feed=lines,
                feed_file=feed_file,
                rate=rate,
                redis=redis,
                on_progress=table.show,
            )
        )
    terminal.print()
    terminal.print(summary(outcome))
    if rate is None:
        terminal.print("[dim]Sent as fast as it goes, so events queue up; --rate 200 shows what they take else.[/]")
    raise typer.Exit(1 if outcome.faults else 0)
