"""What the demo shows: bars while it runs, and at the end the account of every event."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from hippo_messenger.demo.accounting import Account
from hippo_messenger.demo.run import Outcome

__all__ = ["ProgressBars", "summary"]


class ProgressBars:
    """One bar for the feed, and one for each service that works."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("[bold]{task.description:<14}"),
            BarColumn(bar_width=None, complete_style="cyan", finished_style="green"),
            MofNCompleteColumn(),
            TextColumn("[dim]{task.fields[note]:<18}"),
            TimeElapsedColumn(),
            console=console,
            expand=console.width < 100,
        )
        self._tasks: dict[str, TaskID] = {}

    def show(self, account: Account) -> None:
        """Bring the bars up to date."""
        told = account.lines - len(account.untold)
        self._bar("sent", told, account.lines, f"{account.rejected} rejected")
        for service in account.services:
            note = f"{service.retried} retried, {service.dead} dead" if service.retried else ""
            self._bar(service.service.value, service.processed + service.dead, service.owed, note)

    def _bar(self, name: str, done: int, total: int, note: str) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total, note=note)
        self._progress.update(self._tasks[name], completed=done, total=total, note=note)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


def summary(outcome: Outcome) -> Group:
    """The account of every event, and whether it comes out even."""
    return Group(_feed_table(outcome.account), Text(), _service_table(outcome.account), Text(), _verdict(outcome))


def _feed_table(account: Account) -> Table:
    table = _table("The feed")
    for name in ("lines", "sent", "of them repeated", "rejected", "not sent"):
        table.add_column(name, justify="right")
    unsent = len(account.unsent) + len(account.untold)
    table.add_row(
        str(account.lines), str(account.sent), str(account.repeated), str(account.rejected), _alarming(unsent)
    )
    return table


def _service_table(account: Account) -> Table:
    table = _table("The services")
    table.add_column("service", no_wrap=True, min_width=12)
    for name in ("owed", "delivered", "processed", "retried", "dead", "missing", "double"):
        table.add_column(name, justify="right")
    for service in account.services:
        table.add_row(
            service.service.value,
            *(str(count) for count in (service.owed, service.delivered, service.processed, service.retried)),
            str(service.dead),
            _alarming(len(service.missing)),
            _alarming(len(service.double) + len(service.stray)),
        )
    return table


def _verdict(outcome: Outcome) -> Text:
    account = outcome.account
    if not outcome.faults:
        settled = sum(service.processed + service.dead for service in account.services)
        return Text.from_markup(
            f"[green]✓[/] Every event is accounted for: {account.lines:,} lines of the feed, {settled:,} deliveries, "
            f"none missing, none double, in {outcome.seconds:.1f} s."
        )
    lines = [f"[red]✗[/] {fault}" for fault in outcome.faults]
    if outcome.kept is not None:
        lines.append(f"  The ledger and the logs are in {outcome.kept}")
    return Text.from_markup("\n".join(lines))


def _table(title: str) -> Table:
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
        header_style="dim",
    )


def _alarming(count: int) -> str:
    return f"[red]{count}[/]" if count else "0"
