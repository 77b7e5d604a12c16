"""`hippo tail`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from hippo_messenger.cli.options import (
    CatalogueOption,
    PrefixOption,
    RedisOption,
    known_services,
    member_of,
    opened,
    read_catalogue,
    read_settings,
    registry_of,
    service_among,
    suggest_events,
    suggest_services,
)
from hippo_messenger.cli.output import complain, console, run
from hippo_messenger.cli.shown import in_line, shown
from hippo_messenger.queues.layout import Layout
from hippo_messenger.queues.trail import Step, Trail

__all__ = ["tail"]

_WIDE = 110
"""A narrower terminal is spared the ids."""
_DETAIL_LENGTH = 200
_COLOURS = {
    "sent": "cyan",
    "routed": "blue",
    "unrouted": "yellow",
    "duplicate": "yellow",
    "expired": "yellow",
    "rejected": "red",
    "failed": "red",
    "processed": "green",
    "retry": "yellow",
    "dead": "red",
    "stalled": "red",
}


def tail(
    service: Annotated[
        list[str] | None,
        typer.Argument(metavar="SERVICE", help="Only these services; left out, all.", autocompletion=suggest_services),
    ] = None,
    event: Annotated[
        list[str] | None,
        typer.Option("--event", metavar="EVENT", help="Only these event types.", autocompletion=suggest_events),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", "-n", metavar="N", min=1, help="End after so many lines.", show_default=False),
    ] = None,
    redis: RedisOption = None,
    catalogue: CatalogueOption = None,
    prefix: PrefixOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, for scripts.")] = False,
) -> None:
    """Follow what happens, from now on until Ctrl-C: events as they are sent, routed, processed, retried or fail.

    Where no service is named, those that register meanwhile are followed too.
    """
    settings, known = read_settings(prefix), read_catalogue(catalogue)
    types = {member_of(known.event_types, name, what="an event type of the catalogue").value for name in event or ()}

    async def follow() -> None:
        async with opened(redis, settings) as connection:
            registry = registry_of(connection, settings)
            registered = sorted((await registry.load()).by_service)
            services = await known_services(registry, known)
            wanted = [service_among(services, name) for name in service or ()]
            queues = wanted or registered
            trail = Trail(connection, Layout(settings.prefix), queues=queues, new_ones_too=not wanted)
            await trail.start()
            more = "" if wanted else " and new services"
            complain(f"following {', '.join(queues) or 'the broker'}{more}; Ctrl-C ends")
            steps = _matching(trail.follow(), types=types, services=set(wanted))
            await _print_all(steps, limit=limit, as_json=as_json)

    run(follow())


async def _matching(steps: AsyncIterator[Step], *, types: set[str], services: set[str]) -> AsyncIterator[Step]:
    async for step in steps:
        if types and step.event_type not in types:
            continue
        if services and not services & {step.queue, step.origin, *step.services}:
            continue
        yield step


async def _print_all(steps: AsyncIterator[Step], *, limit: int | None, as_json: bool) -> None:
    terminal = console()
    shown = 0
    async for step in steps:
        if as_json:
            print(json.dumps(asdict(step) | {"time": step.time.isoformat()}, ensure_ascii=False), flush=True)
        elif terminal.is_terminal:
            terminal.print(_drawn(_cells(step, with_id=terminal.width >= _WIDE)))
        else:
            terminal.print("  ".join(_cells(step, with_id=True)), soft_wrap=True)
        shown += 1
        if shown == limit:
            return


def _drawn(cells: Sequence[str]) -> Table:
    """One step for a terminal: what is too long for its line goes on below where it began."""
    line = Table.grid(padding=(0, 2, 0, 0))
    for _ in cells[:-1]:
        line.add_column(no_wrap=True)
    line.add_column(overflow="fold")
    line.add_row(*cells)
    return line


def _cells(step: Step, *, with_id: bool) -> tuple[str, str, str, str]:
    """One step: when, what, of which type, and the rest."""
    at = step.time.astimezone().strftime("%H:%M:%S.%f")[:-3]
    kind = f"[{_COLOURS.get(step.kind, 'magenta')}]{step.kind:<10}[/]"
    event_type = in_line(step.event_type) or "–"
    detail = f"  [dim]{shown(in_line(step.detail)[:_DETAIL_LENGTH])}[/]" if step.detail else ""
    event_id = f"  [dim]{shown(in_line(step.event_id))}[/]" if with_id else ""
    return f"[dim]{at}[/]", kind, shown(f"{event_type:<22}"), f"{shown(in_line(_way(step)))}{event_id}{detail}"


def _way(step: Step) -> str:
    match step.kind:
        case "routed" if step.services:
            return f"{step.origin} → {', '.join(step.services)}"
        case "unrouted":
            return f"{step.origin} → nobody listens"
        case "sent" | "duplicate" | "rejected" | "failed" | "registered" | "routed":
            return step.origin or "–"
        case "paused" | "resumed":
            return step.queue
        case _:
            return f"{step.queue} ← {step.origin}" if step.origin else step.queue
