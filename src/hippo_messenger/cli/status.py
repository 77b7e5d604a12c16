"""`hippo status`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from functools import partial
from typing import Annotated

import typer
from rich.live import Live

from hippo_messenger.cli.options import (
    CatalogueOption,
    JsonOption,
    PrefixOption,
    RedisOption,
    opened,
    read_catalogue,
    read_settings,
)
from hippo_messenger.cli.output import Listing, alarming, console, duration, print_json, run
from hippo_messenger.cli.services import marked, print_clashes, standings
from hippo_messenger.limits import WorkLimits
from hippo_messenger.queues.layout import BROKER_QUEUE, Layout
from hippo_messenger.queues.overview import Overview, Standing

__all__ = ["status"]

_OLD = 60.0
"""A job that has waited for so many seconds is shown in yellow."""


def status(
    watch: Annotated[
        float | None,
        typer.Option("--watch", "-w", metavar="SECONDS", min=0.2, help="Show it again and again.", show_default=False),
    ] = None,
    redis: RedisOption = None,
    catalogue: CatalogueOption = None,
    prefix: PrefixOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show every queue: what waits and for how long, how many jobs were done in the last minute, and who works on it.

    What failed are the dead letters; records of events that were rejected at send are counted beside the queue's name.
    Services of the catalogue that are not registered are shown where their queues hold jobs.
    With --watch until Ctrl-C: a live table in a terminal, elsewhere one table (or one line of JSON) after the other.
    """
    settings = read_settings(prefix)
    known = [service.value for service in read_catalogue(catalogue).services]
    if watch is None:
        found = run(standings(redis, settings, also=known))
        print_json([asdict(entry) for entry in found]) if as_json else _print(found)
        return

    async def keep_looking() -> None:
        async with opened(redis, settings) as connection:
            look = partial(Overview(connection, Layout(settings.prefix)).standings, also=known)
            await _watch(look, every=watch, as_json=as_json)

    run(keep_looking())


async def _watch(look: Callable[[], Awaitable[list[Standing]]], *, every: float, as_json: bool) -> None:
    terminal = console()
    if as_json or not terminal.is_terminal:
        while True:
            found = await look()
            print_json([asdict(entry) for entry in found], on_one_line=True) if as_json else _print(found)
            await asyncio.sleep(every)
    with Live(console=terminal, auto_refresh=False) as live:
        while True:
            live.update(_listing(await look()).drawn(), refresh=True)
            await asyncio.sleep(every)


def _print(found: list[Standing]) -> None:
    _listing(found).print()
    print_clashes(found)


def _listing(found: list[Standing]) -> Listing:
    some_are_limited = any(_limits(entry) for entry in found)
    return Listing(
        titles=(
            *("queue", ">waiting", ">oldest", ">active", ">delayed", ">failed", ">done/min", ">workers"),
            *(("limits",) if some_are_limited else ()),
        ),
        rows=[
            (
                marked(entry),
                str(entry.waiting),
                _age(entry.oldest),
                str(entry.active),
                str(entry.delayed),
                alarming(entry.failed),
                f"{entry.completed_per_minute:.0f}",
                _workers(entry),
                *((_limits(entry) or "–",) if some_are_limited else ()),
            )
            for entry in found
        ],
        wrapped=("queue",),
    )


def _age(seconds: float | None) -> str:
    shown = duration(seconds)
    return f"[yellow]{shown}[/]" if seconds is not None and seconds > _OLD else shown


def _limits(entry: Standing) -> str:
    limits = [] if entry.limits == WorkLimits() else [str(entry.limits)]
    return "; ".join([*limits, *([str(entry.backlog)] if entry.backlog else [])])


def _workers(entry: Standing) -> str:
    if entry.workers is None:
        return "?"
    is_missed = entry.workers == 0 and (entry.waiting > 0 or entry.queue == BROKER_QUEUE)
    return "[red]0[/]" if is_missed else str(entry.workers)
