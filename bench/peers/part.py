"""What every contender does in the same way: it hears its task, makes the events, and counts those it has processed."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from bench.part import Task, say
from bench.peers.order import Order

__all__ = ["Part", "Tally", "at_once", "deliver", "say"]


@dataclass(frozen=True)
class Part:
    """What a process is told by its arguments; see bench/contest.py."""

    role: str
    url: str
    concurrency: int
    events: int
    rate: float
    services: tuple[str, ...]
    name: str = ""

    @classmethod
    def told(cls) -> Part:
        """By the arguments of this process."""
        role, url, _prefix, concurrency, events, rate, services, *name = sys.argv[1:]
        return cls(role, url, int(concurrency), int(events), float(rate), tuple(services.split(",")), *name)


@dataclass(frozen=True)
class Tally:
    """What a service has processed so far: how long each took to come, in ms."""

    expected: int
    latencies: list[float] = field(default_factory=list)

    def count(self, order: Order) -> None:
        """One more; says so when it was the last."""
        self.latencies.append(time.time() * 1000 - order.sent_at)
        if len(self.latencies) == self.expected:
            say({"done": self.expected, "latencies": self.latencies})


async def deliver(part: Part, send: Callable[[Sequence[Order]], Awaitable[object]]) -> None:
    """The sender's part: 200 validated orders at a time or, where there is a rate, one."""
    say({"ready": True})
    task = await Task.told(events=part.events, rate=part.rate)
    if task.rate:
        # One after the other, unlike Task.deliver: a sender that can't keep up sends fewer, and has its latencies.
        async for number in task.due():
            await send([Order.model_validate(task.made(number))])
    else:
        for bulk in task.bulks():
            await send([Order.model_validate(each) for each in bulk])
    say({"done": part.events})
    await asyncio.Event().wait()  # until its CPU time is read


async def at_once(calls: Iterable[Awaitable[object]], *, limit: int) -> None:
    """All of these calls, no more than so many at a time: for what has no call for many."""
    places = asyncio.Semaphore(limit)

    async def made(call: Awaitable[object]) -> None:
        async with places:
            await call

    await asyncio.gather(*map(made, calls))
