"""One event to three services, validated, processed and acknowledged: this package beside stock BullMQ, side by side.

    make bench                                          # all of it, some minutes
    make bench ARGS="--events 5000 --runs 1"
    make bench ARGS="--bytes 400,4096,65536 --services 1,3,10 --rates 100,1000 --live --json figures.json"
    make bench-light                                    # ours and Node, briefly; fails where ours is not well ahead

Every contestant is the same processes: one sender, one router (broker), and services with one worker each. All
validate on arrival, name jobs by a UUID, keep the same completed jobs (1 hour or 1,000) and run on a server of their
own that is started anew for each run, under the usual prefix. Runs are interleaved; the tables have medians, with the
least and the most events a second. CPU and Redis time are per event, CPU that of all the processes; memory is the
most that Redis, and each of sender, router and service, had. The floor is what Redis needs to write, line up, take
and delete that many copies of that size in pipelines of 50; `× floor` is how often that goes into a contestant's Redis
time. Latencies are from send to processor, at so many events a second; least and most are those of p99. Of large events
there are fewer, so that a run moves about as many bytes, but at least 2,000. With `--live` senders also run as 50 tasks
that each send one event after the other, rather than 200 events a call. Stock BullMQ's names end in its concurrency,
which is 1 where it is plain: wired as its documentation begins, with one call after the other.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.buses import BUSES, NODE_PACKAGES, NODES, OURS, QUIET
from bench.contest import (
    ALL_SERVICES,
    SIZE,
    Contestant,
    Figures,
    Load,
    least_to_most,
    median,
    process_memory,
    summary,
    timed_afresh,
)
from bench.floor import floor
from bench.options import asked, counts, parser, service_counts, some_of
from bench.process import run_to_end
from bench.server import Server, machine
from bench.steps import Steps
from bench.tables import as_json, headed, show

SPEED = ("", "events/s", "least–most", "ours ×", "Redis µs", "× floor", "CPU µs", "Redis MB", "MB each")
LATENCY = ("", "events/s", "p50 ms", "p99 ms", "least–most", "p99.9 ms", "Redis µs", "CPU µs")
LARGE = 10 * SIZE
"""Of larger events there are fewer."""
FEWEST = 2000
"""Of the largest and of the slowest contestants; shorter runs would show how they begin and end."""


@dataclass(frozen=True)
class Case:
    """What an event is, to how many it goes, and what its server writes."""

    size: int
    services: int
    append_only: bool

    @property
    def title(self) -> str:
        keeps = "append-only file, every second" if self.append_only else "no persistence"
        return f"One {self.size:,}-byte event to {self.services} service{'s'[: self.services > 1]}; {keeps}"


@dataclass(frozen=True)
class Entry:
    """A contestant, and how its sender sends."""

    contestant: Contestant
    live: bool

    @property
    def name(self) -> str:
        return f"{self.contestant.name}, live" if self.live else self.contestant.name


@dataclass(frozen=True)
class Plan:
    """What is asked of every contestant in every case."""

    server: str
    entries: Sequence[Entry]
    events: int
    runs: int
    rates: Sequence[int]
    latency_seconds: int

    @property
    def turns(self) -> int:
        """Runs of one case, with those of the floor."""
        return self.runs * (len(self.entries) + len(self.calm) + 1)

    @property
    def calm(self) -> Sequence[tuple[Entry, int]]:
        """Whose latencies are wanted, and at which rates; those that are to be compared stand together."""
        return [(entry, rate) for rate in self.rates for entry in self.entries if not entry.live]

    def load(self, entry: Entry, case: Case) -> Load:
        events = int(self.events * entry.contestant.share * min(1, LARGE / case.size))
        services = ALL_SERVICES[: case.services]
        return Load(max(events, min(self.events, FEWEST)), size=case.size, services=services, live=entry.live)

    def calm_load(self, rate: int, case: Case) -> Load:
        services = ALL_SERVICES[: case.services]
        return Load(rate * self.latency_seconds, rate=rate, size=case.size, services=services)


@dataclass(frozen=True)
class Result:
    """Of one case: the runs of each entry, those at each rate, and what each floor was (µs)."""

    case: Case
    runs: dict[Entry, list[Figures]]
    calm: dict[tuple[Entry, int], list[Figures]]
    floors: list[float] = field(default_factory=list)

    @property
    def floor(self) -> float:
        return statistics.median(self.floors)

    def ahead(self, entry: Entry) -> float | None:
        """How often this entry's events a second go into ours, sent in the same way; None where ours has not run."""
        ours = self.runs.get(Entry(OURS, entry.live))
        return median(ours).rate / median(self.runs[entry]).rate if ours else None

    @property
    def lead(self) -> float:
        """Ours divided by Node's best."""
        return min(
            ratio for entry in self.runs if entry.contestant in NODES and (ratio := self.ahead(entry)) is not None
        )


async def measured(plan: Plan, case: Case, steps: Steps) -> Result:
    result = Result(case, {entry: [] for entry in plan.entries}, {calm: [] for calm in plan.calm})

    async def run(entry: Entry, load: Load) -> Figures:
        return await timed_afresh(plan.server, entry.contestant, load, append_only=case.append_only)

    for _ in range(plan.runs):
        for entry, figures in result.runs.items():
            with steps.step(entry.name):
                figures.append(await run(entry, plan.load(entry, case)))
        for (entry, rate), figures in result.calm.items():
            with steps.step(f"{entry.name}, {rate:,} a second"):
                figures.append(await run(entry, plan.calm_load(rate, case)))
        with steps.step("floor"):
            async with Server(plan.server, append_only=case.append_only) as server:
                events = plan.load(plan.entries[0], case).events
                result.floors.append(await floor(server, events=events, size=case.size, services=case.services))
    return result


def speed(result: Result) -> Iterator[tuple[str, ...]]:
    for entry, figures in result.runs.items():
        middle, ahead = median(figures), result.ahead(entry)
        yield (
            entry.name,
            f"{middle.rate:,.0f}",
            least_to_most(figures),
            f"{ahead:.1f}" if ahead else "–",
            f"{middle.server_cpu:,.0f}",
            f"{middle.server_cpu / result.floor:.1f}",
            f"{middle.cpu:,.0f}",
            f"{middle.server_mb:,.0f}",
            process_memory(middle),
        )
    yield ("floor", "", "", "", f"{result.floor:,.0f}", "", "", "", "")


def latencies(result: Result) -> Iterator[tuple[str, ...]]:
    for (entry, _), figures in result.calm.items():
        middle, p99 = median(figures), [one.p99 for one in figures]
        yield (
            entry.name,
            f"{middle.rate:,.0f}",
            f"{middle.p50:,.1f}",
            f"{middle.p99:,.1f}",
            f"{min(p99):,.1f}–{max(p99):,.1f}",
            f"{middle.p999:,.1f}",
            f"{middle.server_cpu:,.0f}",
            f"{middle.cpu:,.0f}",
        )


def figures(plan: Plan, result: Result, entry: Entry) -> dict[str, Any]:
    case, runs = result.case, result.runs[entry]
    return {
        "name": entry.name,
        "ours": entry.contestant in (OURS, QUIET),
        "server": "redis",
        "services": case.services,
        "bytes": case.size,
        "append_only": case.append_only,
        "live": entry.live,
        "events": plan.load(entry, case).events,
        "concurrency": entry.contestant.concurrency,
        **summary(runs),
        "floor": result.floor,
        "latencies": {rate: summary(calm) for (one, rate), calm in result.calm.items() if one == entry},
        "runs": [asdict(run) for run in runs],
    }


def options() -> argparse.ArgumentParser:
    made = parser(__doc__)
    made.add_argument("--events", type=int, default=20_000)
    made.add_argument("--runs", type=int, default=3)
    made.add_argument("--bytes", type=counts, default=[SIZE], help="sizes of the event, such as 400,4096,65536")
    made.add_argument("--services", type=service_counts, default=[3], help="how many, such as 1,3,10")
    made.add_argument("--rates", type=counts, default=[100], help="events a second for the latencies: 100,1000")
    made.add_argument("--latency-seconds", type=int, default=10, help="0 leaves the latencies out")
    made.add_argument("--live", action="store_true", help="also with senders that send single events")
    made.add_argument("--persistence", choices=("off", "on", "both"), default="both")
    made.add_argument("--only", type=some_of(BUSES), default=tuple(BUSES.values()), help=", ".join(BUSES))
    made.add_argument("--json", type=Path, help="a file for all figures")
    made.add_argument("--fail-below", type=float, help="fail where ours is less than so many times Node's best")
    return made


async def main() -> None:
    wanted = options()
    told = asked(wanted)
    if told.fail_below and not (OURS in told.only and set(NODES) & set(told.only)):
        wanted.error("--fail-below expects ours and one of Node's among --only")
    entries = [
        Entry(contestant, live) for live in ([False, True] if told.live else [False]) for contestant in told.only
    ]
    rates = told.rates if told.latency_seconds else []
    plan = Plan(told.server, entries, told.events, told.runs, rates, told.latency_seconds)
    modes = {"off": (False,), "on": (True,), "both": (False, True)}[told.persistence]
    cases = [Case(size, count, mode) for mode in modes for count in told.services for size in told.bytes]
    about = machine(told.server, packages=NODE_PACKAGES)
    console = headed(about)
    results: list[Result] = []
    with Steps(console, total=len(cases) * plan.turns) as steps:
        for case in cases:
            results.append(await measured(plan, case, steps))
            show(console, case.title, SPEED, speed(results[-1]))
            if rates:
                title = "At so many events a second: latency from send to processor"
                show(console, title, LATENCY, latencies(results[-1]))
    if told.json:
        settings = {"runs": plan.runs, "latency_seconds": plan.latency_seconds}
        every = [figures(plan, result, entry) for result in results for entry in result.runs]
        told.json.write_text(as_json(machine=about, settings=settings, results=every))
    if told.fail_below:
        lead = min(result.lead for result in results)
        print(f"ours is {lead:.2f} × Node's best; {told.fail_below} is expected")
        raise SystemExit(lead < told.fail_below)


if __name__ == "__main__":
    run_to_end(main())
