"""What the demo shows: a live table while it runs, and at the end the account of every event."""

from __future__ import annotations

import time
from dataclasses import asdict
from types import TracebackType
from typing import Self

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hippo_messenger.demo.accounting import Account, Latency
from hippo_messenger.demo.run import Outcome

__all__ = ["LiveTable", "as_record", "summary"]


class LiveTable:
    """A table that grows while the demo runs: one line for the feed, and one for each service."""

    def __init__(self, console: Console, *, is_shown: bool) -> None:
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._is_shown = is_shown
        self._began: float | None = None

    def show(self, account: Account) -> None:
        """Bring the table up to date."""
        if self._is_shown:
            self._began = self._began or time.monotonic()
            self._live.update(_live_table(account, time.monotonic() - self._began), refresh=True)

    def __enter__(self) -> Self:
        if self._is_shown:
            self._live.start()
            self._live.update(Text("the server, the brokers and the services start …", style="dim"), refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_shown:
            self._live.stop()


def _live_table(account: Account, seconds: float) -> Table:
    table = _table(f"{seconds:.0f} s")
    table.add_column("", no_wrap=True, min_width=12)
    table.add_column("", min_width=10, max_width=48)
    for name in ("done", "of", "retried", "dead", "p50", "p99"):
        table.add_column(name, justify="right", no_wrap=True)
    told = account.lines - len(account.untold)
    table.add_row("sent", _bar(told, account.lines), f"{told:,}", f"{account.lines:,}", "", "", "", "")
    for service in account.services:
        done = service.processed + service.dead
        table.add_row(
            service.service.value,
            _bar(done, service.owed),
            f"{done:,}",
            f"{service.owed:,}",
            str(service.retried),
            str(service.dead),
            *_percentiles(service.latency),
        )
    return table


def _bar(done: int, total: int) -> ProgressBar:
    return ProgressBar(total=max(total, 1), completed=done, complete_style="cyan", finished_style="green")


def _percentiles(latency: Latency | None) -> tuple[str, str]:
    return ("–", "–") if latency is None else (_milliseconds(latency.median), _milliseconds(latency.p99))


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def summary(outcome: Outcome, *, is_drawn: bool) -> Group:
    """The account of every event, and whether it comes out even; without lines that are drawn where that is no use."""
    account = outcome.account
    tables = (_feed_table(account), _service_table(account), _latency_table(account))
    if not is_drawn:
        for table in tables:
            table.box = None
    return Group(*(part for table in tables for part in (table, Text())), _verdict(outcome))


def as_record(outcome: Outcome) -> dict[str, object]:
    """The same for scripts; latencies are in seconds."""
    kept = None if outcome.kept is None else str(outcome.kept)
    return asdict(outcome.account) | {"seconds": outcome.seconds, "faults": outcome.faults, "kept": kept}


def _feed_table(account: Account) -> Table:
    table = _table("The feed")
    for name in ("lines", "sent", "of them repeated", "rejected", "not sent"):
        table.add_column(name, justify="right")
    unsent = len(account.unsent) + len(account.untold)
    table.add_row(
        *(f"{count:,}" for count in (account.lines, account.sent, account.repeated, account.rejected)),
        _alarming(unsent),
    )
    return table


def _service_table(account: Account) -> Table:
    table = _table("The services")
    table.add_column("service", no_wrap=True, min_width=12)
    for name in ("owed", "delivered", "processed", "retried", "dead", "missing", "double"):
        table.add_column(name, justify="right", no_wrap=True)
    for service in account.services:
        counts = (service.owed, service.delivered, service.processed, service.retried, service.dead)
        table.add_row(
            service.service.value,
            *(f"{count:,}" for count in counts),
            _alarming(len(service.missing)),
            _alarming(len(service.double) + len(service.stray)),
        )
    return table


def _latency_table(account: Account) -> Table:
    table = _table("From send to the processor")
    table.add_column("service", no_wrap=True, min_width=12)
    for name in ("p50", "p99", "longest"):
        table.add_column(name, justify="right", no_wrap=True, min_width=9)
    for service in account.services:
        if (latency := service.latency) is not None:
            times = (latency.median, latency.p99, latency.longest)
            table.add_row(service.service.value, *(_milliseconds(seconds) for seconds in times))
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
        show_edge=False,
        collapse_padding=True,
        header_style="dim",
    )


def _alarming(count: int) -> str:
    return f"[red]{count}[/]" if count else "0"
