"""What the parts of this package and of stock BullMQ in Python do alike; see contest.py and node/part.mjs."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Tally", "Task", "laps", "say"]

BULK = 200
"""Events a call, where many are sent at once."""


def say(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


def laps(told: str) -> tuple[int, ...]:
    """How many events each lap of a run has, by an argument of its parts."""
    return tuple(map(int, told.split(",")))


@dataclass(frozen=True)
class Task:
    """What a sender is told to send in one lap, and how."""

    events: int
    rate: float
    data: dict[str, Any]
    live: int
    """So many tasks send one event after the other each; 0 sends many at once."""
    slow_every: int
    """One event in so many makes its processor sleep; 0 none."""
    slow_ms: int

    @classmethod
    async def told(cls, *, events: int) -> Task:
        """By the line that a sender reads before each lap."""
        line = json.loads(await asyncio.to_thread(sys.stdin.readline))
        return cls(events, line["rate"], line["data"], line["live"], line["slowEvery"], line["slowMs"])

    def made(self, number: int) -> dict[str, Any]:
        """The data of the event with this number, sent now."""
        slow = self.slow_every and number % self.slow_every == 0
        return self.data | {"sentAt": time.time() * 1000} | ({"sleepMs": self.slow_ms} if slow else {})

    async def due(self) -> AsyncIterator[int]:
        """The number of each event when its time has come."""
        start = time.monotonic()
        for number in range(self.events):
            await asyncio.sleep(max(0.0, start + number / self.rate - time.monotonic()))
            yield number

    def bulks(self) -> Iterator[list[dict[str, Any]]]:
        """The data of all events, so many a call."""
        for first in range(0, self.events, BULK):
            yield [self.made(number) for number in range(first, min(first + BULK, self.events))]

    async def deliver(
        self,
        one: Callable[[dict[str, Any]], Awaitable[object]],
        many: Callable[[Sequence[dict[str, Any]]], Awaitable[object]],
    ) -> None:
        """All of them: at their rate whether or not earlier ones have arrived, live, or many at once."""

        async def send(number: int) -> None:
            await one(self.made(number))

        async def send_in_turn(first: int) -> None:
            for number in range(first, self.events, self.live):
                await send(number)

        if self.rate:
            async with asyncio.TaskGroup() as sends:
                async for number in self.due():
                    sends.create_task(send(number))
        elif self.live:
            await asyncio.gather(*map(send_in_turn, range(self.live)))
        else:
            for bulk in self.bulks():
                await many(bulk)
        say({"done": self.events})


class Tally:
    """What a service has done so far, and how long (ms) each event of a lap took to come, but for those that slept."""

    def __init__(self, laps: Sequence[int]) -> None:
        self._ends = list(itertools.accumulate(laps))
        self._ended = itertools.count(1)
        self.latencies: list[float] = []

    async def process(self, data: dict[str, Any]) -> None:
        """One event, by what its sender wrote into its data."""
        if "sleepMs" in data:
            await asyncio.sleep(data["sleepMs"] / 1000)
        else:
            self.came(data["sentAt"])

    def came(self, sent_at: float) -> None:
        """One event that was sent at this time (ms)."""
        self.latencies.append(time.time() * 1000 - sent_at)

    def ended(self) -> None:
        """One event is done with; says so when it was the last of a lap. From any thread."""
        number = next(self._ended)
        if self._ends and number == self._ends[0]:
            latencies, self.latencies = self.latencies, []
            del self._ends[0]
            say({"done": number, "latencies": latencies})
