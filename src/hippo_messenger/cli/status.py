"""`hippo status`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import Annotated, Protocol

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from hippo_messenger.cli.options import (
    CatalogueOption,
    JsonOption,
    PrefixOption,
    RedisOption,
    finite,
    opened,
    read_catalogue,
    read_settings,
)
from hippo_messenger.cli.output import Listing, alarming, complain, console, duration, print_json, run
from hippo_messenger.cli.services import clash_lines, marked, print_clashes, standings
from hippo_messenger.errors import RedisUnavailableError
from hippo_messenger.limits import WorkLimits
from hippo_messenger.queues.layout import BROKER_QUEUE, Layout
from hippo_messenger.queues.overview import Overview, Standing

__all__ = ["status"]

_OLD = 60.0
"""A job that has waited for so many seconds is shown in yellow."""


def status(
    watch: Annotated[
        float | None,
        typer.Option(
            "--watch",
            "-w",
            metavar="SECONDS",
            min=0.2,
            callback=finite,
            help="Show it again and again.",
            show_default=False,
        ),
    ] = None,
    redis: RedisOption = None,
    catalogue: CatalogueOption = None,
    prefix: PrefixOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show every queue: what waits and for how long, how many jobs were done in the last minute, and who works on it.

    What failed are the dead letters; records of events that were rejected at send are counted beside the queue's name.
    Services of the catalogue that are not registered are shown where their queues hold jobs.
    With --watch until Ctrl-C: a live table in a terminal, elsewhere one table (or one line of JSON) after the other. It
    goes on when Redis can't be reached for a while.
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
    """Show what each look finds; where Redis can't be reached that is said, and the next look may succeed."""
    with _shown(as_json=as_json) as show:
        while True:
            try:
                show(await look(), None)
            except RedisUnavailableError as error:
                show(None, f"{error}; looking again every {every:g} s")
            await asyncio.sleep(every)


class _Show(Protocol):
    def __call__(self, found: list[Standing] | None, note: str | None) -> None: ...


@contextmanager
def _shown(*, as_json: bool) -> Iterator[_Show]:
    """A live table in a terminal that can draw one, else one after the other."""
    terminal = console()
    if as_json or not terminal.is_terminal or terminal.is_dumb_terminal:

        def show(found: list[Standing] | None, note: str | None) -> None:
            if note is not None:
                complain(note)
            if found is not None:
                print_json([asdict(entry) for entry in found], on_one_line=True) if as_json else _print(found)

        yield show
        return
    with Live(console=terminal, auto_refresh=False) as live:
        last: list[RenderableType] = []

        def draw(found: list[Standing] | None, note: str | None) -> None:
            if found is not None:
                last[:] = [_listing(found).drawn(), *map(Text, clash_lines(found))]
            live.update(Group(*last, *([] if note is None else [Text(note, style="red")])), refresh=True)

        yield draw


def _print(found: list[Standing]) -> None:
    _listing(found).print()
    print_clashes(found)
    sys.stdout.flush()  # --watch goes on


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
