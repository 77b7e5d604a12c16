"""Where the milliseconds of one event go, from its send to a processor of one of three services.

    make bench-stages
    make bench-stages ARGS="--rate 100 --events 1000"

The parts are those of `make bench`, each of which also writes down when its calls of scripts and its waits on queues
begin and end, by the machine's clock. An event's stages are put together from what its sender, the broker and one
service wrote; events that met another one are left out. The table has the median and the 99th percentile of each stage,
which don't add up to those of the whole.

The second table is the machine's part in it: how long one process, alone on it, takes to encode an event after a sleep.
What that is more than without one is waking up: the core's caches, and on a virtual machine the core itself.
"""

from __future__ import annotations

import json
import os
import runpy
import statistics
import sys
import tempfile
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

from bench.contest import ALL_SERVICES, Contestant, Load, percentile, timed_afresh
from bench.options import asked, parser
from bench.order import an_order
from bench.part import Tally
from bench.process import run_to_end
from bench.server import machine
from bench.tables import headed, show
from hippo_messenger.catalogue.model import to_wire
from hippo_messenger.envelope import encode, new_event_id
from hippo_messenger.queues.call import Argument, Caller
from hippo_messenger.queues.queue import Queue

STAMPS = "HIPPO_BENCH_STAMPS"
"""The variable that names the directory for what parts write down."""
STAGES = (
    "sender: validate, encode",
    "publish, until the broker is woken",
    "broker: take",
    "broker: read, validate",
    "route, until a service is woken",
    "service: take",
    "service: read, validate, start",
)
PAUSES = (0.0, 0.001, 0.01)
"""Seconds; the last is that of 100 events a second."""


@dataclass(frozen=True)
class Stamp:
    """When something began and ended (seconds)."""

    began: float
    ended: float


@dataclass(frozen=True)
class Track:
    """What one process wrote down of one kind, by time."""

    stamps: Sequence[Stamp]

    def next(self, after: float, *, ended: bool = False) -> Stamp:
        """The first that began, or ended, at a time or later.

        Raises:
            LookupError: There is none.
        """
        at = bisect_left(self.stamps, after, key=lambda stamp: stamp.ended if ended else stamp.began)
        if at == len(self.stamps):
            raise LookupError
        return self.stamps[at]


Tracks = Mapping[tuple[str, str], Track]
"""By role and kind."""


def stages(tracks: Tracks, service: str, *, events: int) -> Iterator[Sequence[float]]:
    """How long (s) each stage of each of the last events took."""
    for arrival in tracks[service, "processor"].stamps[-events:]:
        try:
            publish = tracks["sender", "publish"].next(arrival.began)
            woken = tracks["router", "wait"].next(publish.began, ended=True).ended
            take = tracks["router", "take"].next(woken)
            route = tracks["router", "route"].next(take.ended)
            reached = tracks[service, "wait"].next(route.began, ended=True).ended
            last = tracks[service, "take"].next(reached)
        except LookupError:
            continue
        times = (arrival.began, publish.began, woken, take.ended, route.began, reached, last.ended, arrival.ended)
        if sorted(times) == list(times):  # else it met another event
            yield [later - earlier for earlier, later in pairwise(times)]


def lines(found: Sequence[Sequence[float]]) -> Iterator[tuple[str, ...]]:
    every = [*zip(*found, strict=True), [sum(one) for one in found]]
    for name, times in zip((*STAGES, "all"), every, strict=True):
        ordered = [1000 * each for each in sorted(times)]
        yield (name, f"{statistics.median(ordered):.2f}", f"{percentile(ordered, 0.99):.2f}")


def encoding(*, pause: float, times: int = 300) -> float:
    """The median time (s) that it takes to encode an event after so long a sleep (s)."""

    def once() -> float:
        if pause:
            time.sleep(pause)
        began = time.perf_counter()
        data = to_wire(an_order())
        encode(event_id=new_event_id(), source="order", event_type="ORDER_SUCCESS", data=data)
        return time.perf_counter() - began

    return statistics.median([once() for _ in range(times)][times // 10 :])


def read(directory: Path) -> Tracks:
    kinds: dict[tuple[str, str], list[Stamp]] = {}
    for path in directory.iterdir():
        for what, began, ended in json.loads(path.read_text()):
            kinds.setdefault((path.stem, what), []).append(Stamp(began, ended))
    return {kind: Track(sorted(stamps, key=lambda stamp: stamp.began)) for kind, stamps in kinds.items()}


def part(arguments: Sequence[str]) -> None:
    """Run one part of our bus, and write down what it does."""
    stamps: list[tuple[str, float, float]] = []
    call, wait, process = Caller.call, Queue.wait, Tally.process

    async def noted_call(
        caller: Caller, name: str, keys: Sequence[str | bytes], words: Sequence[Argument], **options: Any
    ) -> list[object]:
        began = time.time()
        reply = await call(caller, name, keys, words, **options)
        stamps.append((name, began, time.time()))
        return reply

    async def noted_wait(queue: Queue, timeout: float) -> bool:
        began = time.time()
        woken = await wait(queue, timeout)
        stamps.append(("wait", began, time.time()))
        return woken

    async def noted_process(tally: Tally, data: dict[str, float]) -> None:
        stamps.append(("processor", data["sentAt"] / 1000, time.time()))
        await process(tally, data)

    role = arguments[-1] if arguments[1] == "service" else arguments[1]
    sys.argv = ["hippo_part", *arguments]
    try:
        with (
            patch.object(Caller, "call", noted_call),
            patch.object(Queue, "wait", noted_wait),
            patch.object(Tally, "process", noted_process),
        ):
            runpy.run_module("bench.hippo_part", run_name="__main__")
    finally:
        Path(os.environ[STAMPS], f"{role}.json").write_text(json.dumps(stamps))


async def main() -> None:
    wanted = parser(__doc__)
    wanted.add_argument("--events", type=int, default=1000)
    wanted.add_argument("--rate", type=int, default=100, help="events a second")
    told = asked(wanted)
    console = headed(machine(told.server))
    bus = Contestant("ours", (sys.executable, "-m", "bench.stages", "part", "stream"), 200)
    with tempfile.TemporaryDirectory(prefix="hippo-bench-") as directory:
        os.environ[STAMPS] = directory
        await timed_afresh(told.server, bus, Load(told.events, rate=told.rate))
        found = [*stages(read(Path(directory)), ALL_SERVICES[0], events=told.events)]
    if not found:
        raise SystemExit("expected events that meet no other, found none; take a lower --rate")
    title = f"{len(found):,} of {told.events:,} events, {told.rate:,} a second"
    show(console, title, ("", "p50 ms", "p99 ms"), lines(found))
    slept = [(f"{1000 * pause:g} ms", f"{1e6 * encoding(pause=pause):.1f}") for pause in PAUSES]
    show(console, "The same work after a sleep", ("slept", "µs"), slept)


if __name__ == "__main__":
    if sys.argv[1:2] == ["part"]:
        part(sys.argv[2:])
    else:
        run_to_end(main())
