"""What every contender does in the same way: it hears its task, makes the events, and counts those it has processed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from bench import part
from bench.part import Task, laps, say
from bench.peers.order import Order

__all__ = ["Part", "Tally", "at_once", "deliver", "say"]


@dataclass(frozen=True)
class Part:
    """What a process is told by its arguments; see bench/contest.py."""

    role: str
    url: str
    concurrency: int
    laps: tuple[int, ...]
    services: tuple[str, ...]
    name: str = ""

    @classmethod
    def told(cls) -> Part:
        """By the arguments of this process."""
        role, url, _prefix, concurrency, events, services, *name = sys.argv[1:]
        return cls(role, url, int(concurrency), laps(events), tuple(services.split(",")), *name)


class Tally(part.Tally):
    """Counts what is processed: these contenders don't tell when an acknowledgement has arrived."""

    def count(self, order: Order) -> None:
        """One more."""
        self.came(order.sent_at)
        self.ended()


async def deliver(told: Part, send: Callable[[Sequence[Order]], Awaitable[object]]) -> None:
    """The sender's part: 200 validated orders at a time or, where there is a rate, one."""
    say({"ready": True})
    for events in told.laps:
        task = await Task.told(events=events)
        if task.rate:
            # One after the other, unlike Task.deliver: a sender that can't keep up sends fewer, and has its latencies.
            async for number in task.due():
                await send([Order.model_validate(task.made(number))])
        else:
            for bulk in task.bulks():
                await send([Order.model_validate(each) for each in bulk])
        say({"done": events})
    await asyncio.Event().wait()  # until its CPU time is read


async def at_once(calls: Iterable[Awaitable[object]], *, limit: int) -> None:
    """All of these calls, no more than so many at a time: for what has no call for many."""
    places = asyncio.Semaphore(limit)

    async def made(call: Awaitable[object]) -> None:
        async with places:
            await call

    await asyncio.gather(*map(made, calls))
