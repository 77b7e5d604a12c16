"""The verdict as a table of plain text, and the progress until then."""

from __future__ import annotations

import sys
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.table import Table

from tests.chaos.account import Account, Verdict
from tests.chaos.faults import Fault
from tests.chaos.recovery import Recovery

__all__ = ["Progress", "Row", "rows", "shown"]

NAMES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Row:
    """What one kind of fault came to."""

    fault: str
    times: int
    events: int
    """Sent while such a fault lasted."""
    lost: int
    twice: int
    again: int


def rows(verdict: Verdict, account: Account, faults: Sequence[Fault]) -> list[Row]:
    """One for each kind; what was lost or doubled counts for the fault that was the last to begin before the event."""
    began = sorted(send.began for send in account.sends.values())
    starts = sorted((fault.began, fault.kind) for fault in faults)

    def blamed(keys: Iterable[tuple[str, str]]) -> Counter[str]:
        found: Counter[str] = Counter()
        for _, event_id in keys:
            sent = account.sends[event_id].began
            before = bisect_right(starts, (sent, "~"))
            found[starts[before - 1][1] if before else "none"] += 1
        return found

    lost, twice = blamed(verdict.lost), blamed(verdict.twice)
    again = Counter(repeat.fault or "none" for repeat in verdict.repeats)
    kinds = Counter(fault.kind for fault in faults)
    events: Counter[str] = Counter()
    for fault in faults:
        events[fault.kind] += bisect_right(began, fault.ended) - bisect_left(began, fault.began)
    named = sorted(kinds) + (["none"] if lost["none"] or twice["none"] or again["none"] else [])
    return [Row(kind, kinds[kind], events[kind], lost[kind], twice[kind], again[kind]) for kind in named]


def shown(table: Sequence[Row], verdict: Verdict, recoveries: Sequence[Recovery]) -> str:
    """All of it, for a terminal and a file alike."""
    lines = [f"{'fault':22}{'times':>7}{'events':>9}{'lost':>6}{'delivered twice':>17}{'processed again':>17}"]
    lines += [
        f"{row.fault:22}{row.times:7,}{row.events:9,}{row.lost:6,}{row.twice:17,}{row.again:17,}" for row in table
    ]
    lines.append(
        f"{'in all':22}{sum(row.times for row in table):7,}{sum(verdict.sends.values()):9,}{len(verdict.lost):6,}"
        f"{len(verdict.twice):17,}{len(verdict.repeats):17,}"
    )
    sends = ", ".join(f"{verdict.sends.get(state, 0):,} {state}" for state in ("accepted", "possibly sent", "not sent"))
    lines += ["", f"events: {sends}"]
    lines.append(f"delivered to services: {verdict.deliveries:,}; processed: {verdict.processed:,}")
    lines += ["", "processed again, and why:" if verdict.repeats else "nothing was processed again"]
    causes = Counter(repeat.cause or "NO CAUSE FOUND" for repeat in verdict.repeats)
    lines += [f"{times:7,}  {cause}" for cause, times in causes.most_common()]
    lines += ["", *(str(recovery) for recovery in recoveries)]
    return "\n".join(lines)


def named(verdict: Verdict) -> list[str]:
    """What is wrong, each with the events that it is about."""
    found: Mapping[str, Sequence[tuple[str, str]]] = {
        "lost": verdict.lost,
        "delivered twice": verdict.twice,
        "said to be not sent, or not for that service, and processed": verdict.uncalled,
        "processed again without a cause": [(repeat.service, repeat.event_id) for repeat in verdict.unexplained],
    }
    return [f"{len(keys):,} {what}: {_some(keys)}" for what, keys in found.items() if keys]


def _some(keys: Sequence[tuple[str, str]]) -> str:
    more = f", … (and {len(keys) - NAMES_SHOWN:,} more)" if len(keys) > NAMES_SHOWN else ""
    return ", ".join(f"{event_id} at {service}" for service, event_id in keys[:NAMES_SHOWN]) + more


class Progress:
    """A live display on a terminal, a line every ten seconds without."""

    def __init__(self, *, faults: int, seconds: float) -> None:
        self._faults = faults
        self._seconds = seconds
        self._console = Console()
        self._live = Live(console=self._console, auto_refresh=False) if sys.stdout.isatty() else None
        self._told = -10.0

    def start(self) -> None:
        if self._live is not None:
            self._live.start()

    def stop(self) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, passed: float, account: Account, faults: Sequence[Fault], under_way: Sequence[str]) -> None:
        facts = {
            "time": f"{passed:.0f} of {self._seconds:.0f} s",
            "faults": f"{len(faults):,} of {self._faults:,}",
            "sent": f"{len(account.sends):,}",
            "processed": f"{account.done:,}",
            "outstanding": f"{len(account.outstanding):,}",
            "now": ", ".join(under_way) or "-",
        }
        if self._live is not None:
            table = Table.grid(padding=(0, 2))
            for name, value in facts.items():
                table.add_row(name, value)
            self._live.update(table, refresh=True)
        elif passed - self._told >= 10:
            self._told = passed
            print("; ".join(f"{name} {value}" for name, value in facts.items()), flush=True)
