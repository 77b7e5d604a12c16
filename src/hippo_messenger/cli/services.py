"""`hippo services`."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table

from hippo_messenger.cli.options import PrefixOption, RedisOption, read_settings
from hippo_messenger.cli.output import console, run
from hippo_messenger.observer import Observer
from hippo_messenger.queues.call import Caller
from hippo_messenger.queues.connection import Connection
from hippo_messenger.queues.layout import BROKER_QUEUE, Layout
from hippo_messenger.queues.registry import Registry, Standing
from hippo_messenger.settings import Settings

__all__ = ["services"]


def services(redis: RedisOption = None, prefix: PrefixOption = None) -> None:
    """Show which services are registered, what they listen to, when they were last heard of, and their queues."""
    settings = read_settings(prefix)
    standings = run(_look(redis, settings))
    if len(standings) == 1:
        print(f"no service is registered under the prefix {settings.prefix}: run a broker and let one register")
    console().print(_table(standings))


async def _look(redis: str | None, settings: Settings) -> list[Standing]:
    connection = Connection.of(redis, settings=settings)
    try:
        await connection.open()
        registry = Registry(connection, Layout(settings.prefix), caller=Caller(connection, observer=Observer()))
        return await registry.standings()
    finally:
        await connection.close()


def _table(standings: list[Standing]) -> Table:
    table = Table("queue", "listens to", header_style="dim", box=SIMPLE_HEAD, pad_edge=False)
    for title in ("heard", "waiting", "active", "delayed", "failed"):
        table.add_column(title, justify="right")
    for entry in standings:
        heard = "–" if entry.queue == BROKER_QUEUE else _ago(entry.last_heard)
        counts = (str(entry.waiting), str(entry.active), str(entry.delayed), _alarming(entry.failed))
        table.add_row(entry.queue, ", ".join(entry.listens_to) or "–", heard, *counts)
    return table


def _ago(seconds: float | None) -> str:
    if seconds is None:
        return "[yellow]never[/]"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"


def _alarming(count: int) -> str:
    return f"[red]{count}[/]" if count else "0"
