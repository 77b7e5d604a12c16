"""How fast dead letters are grouped, redriven and discarded, and for how long a call holds Redis.

    make bench-redrive
    make bench-redrive ARGS="--letters 100000 --trace-lines 40"

One server of its own; the letters are written as workers leave them, in three groups. The redrive is `Redrive.run`, as
in `hippo failed redrive --all`; nobody works on what is redriven.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import redis.asyncio
from rich.box import SIMPLE_HEAD
from rich.table import Table

from bench.options import asked, parser
from bench.server import Server, machine
from bench.tables import headed
from hippo_messenger import Settings
from hippo_messenger.catalogue.golden_hippo import CATALOGUE
from hippo_messenger.envelope import encode, new_event_id
from hippo_messenger.queues.connection import Connection
from hippo_messenger.queues.dead_letters import DeadLetters, Selection
from hippo_messenger.queues.layout import Layout
from hippo_messenger.queues.letter_check import LetterCheck
from hippo_messenger.queues.redrive import Redrive, RedrivePlan

SETTINGS = Settings(prefix="{bench}")
QUEUE = "shipping"
DATA = b'{"orderId":"O-000123","total":"61.30","currency":"USD","email":"c-00042@example.com"}'
PLACES = ("charge", "refund", "ship")
EVERYTHING = Selection(rejected=False)


async def fill(server: Server, letters: int, *, trace_lines: int) -> None:
    """Dead letters in three groups of a half, a third and a sixth."""
    client: Any = redis.asyncio.Redis.from_url(server.url)
    base = Layout(SETTINGS.prefix).queue(QUEUE).base
    began = round(time.time() * 1000) - letters
    for first in range(0, letters, 1000):
        async with client.pipeline(transaction=False) as pipeline:
            for number in range(first, min(first + 1000, letters)):
                place = PLACES[(0, 0, 0, 1, 1, 2)[number % 6]]
                event_id, failed_on = new_event_id(), began + number // 10
                pipeline.hset(base + event_id, mapping=letter(event_id, place, failed_on, trace_lines=trace_lines))
                pipeline.zadd(base + "failed", {event_id: failed_on})
            await pipeline.execute()
    await client.aclose()


def letter(event_id: str, place: str, failed_on: int, *, trace_lines: int) -> dict[str, str | bytes | int]:
    frame = f'  File "/srv/app/{place}.py", line 41, in step\n    step()\n'
    trace = f"Traceback (most recent call last):\n{frame * (trace_lines // 2)}ConnectionError: no answer\n"
    return {
        "name": "ORDER_SUCCESS",
        "data": encode(event_id=event_id, source="order", event_type="ORDER_SUCCESS", data=DATA),
        "opts": '{"attempts":3,"backoff":{"type":"exponential","delay":1000,"jitter":1}}',
        "timestamp": failed_on - 1000,
        "delay": 0,
        "priority": 0,
        "processedOn": failed_on - 10,
        "finishedOn": failed_on,
        "atm": 3,
        "ats": 3,
        "failedReason": f"ConnectionError: {place} does not answer",
        "stacktrace": json.dumps([trace] * 3),
    }


async def measured(server: Server, act: Callable[[], Awaitable[int]]) -> tuple[int, float, float, float]:
    """How many letters it was, seconds, seconds of Redis' processor, and the longest call (ms)."""
    client: Any = redis.asyncio.Redis.from_url(server.url)
    await client.config_set("slowlog-log-slower-than", 0)
    await client.config_set("slowlog-max-len", 100_000)
    await client.slowlog_reset()
    cpu, began = await server.cpu(), time.monotonic()
    count = await act()
    seconds, cpu = time.monotonic() - began, await server.cpu() - cpu
    calls = [entry["duration"] for entry in await client.slowlog_get(100_000) if entry["command"].startswith(b"EVAL")]
    await client.aclose()
    return count, seconds, cpu, max(calls, default=0) / 1000


async def run(server: Server, letters: int, *, trace_lines: int) -> list[tuple[str, tuple[int, float, float, float]]]:
    connection = Connection.of(server.url, settings=SETTINGS)
    store = DeadLetters(connection, queue=QUEUE, settings=SETTINGS)
    redrive = Redrive(connection, queue=QUEUE, settings=SETTINGS)
    check = LetterCheck(CATALOGUE, queue=QUEUE, max_bytes=SETTINGS.max_event_bytes)

    async def group() -> int:
        groups = await store.groups()
        assert len(groups) == len(PLACES)
        return sum(found.count for found in groups)

    async def redrive_all() -> int:
        return (await redrive.run(RedrivePlan(EVERYTHING))).redriven

    async def redrive_valid() -> int:
        return (await redrive.run(RedrivePlan(EVERYTHING, fault=check.fault))).redriven

    async def discard() -> int:
        return (await store.discard(EVERYTHING, reason="a benchmark")).count

    found = []
    for name, act in (
        ("group", group),
        ("redrive all", redrive_all),
        ("redrive only valid", redrive_valid),
        ("discard", discard),
    ):
        client: Any = redis.asyncio.Redis.from_url(server.url)
        await client.flushall()
        await client.aclose()
        await fill(server, letters, trace_lines=trace_lines)
        result = await measured(server, act)
        assert result[0] == letters, f"{name}: {result[0]} of {letters}"
        found.append((name, result))
    await connection.close()
    return found


async def main() -> None:
    wanted = parser(__doc__)
    wanted.add_argument("--letters", type=int, default=10_000)
    wanted.add_argument("--trace-lines", type=int, default=20)
    told = asked(wanted)
    console = headed(machine(told.server))
    table = Table(
        title=f"{told.letters:,} dead letters in {len(PLACES)} groups",
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("")
    for title in ("letters/s", "seconds", "Redis µs a letter", "longest call ms"):
        table.add_column(title, justify="right")
    async with Server(told.server, append_only=True) as server:
        for name, (count, seconds, cpu, longest) in await run(server, told.letters, trace_lines=told.trace_lines):
            table.add_row(
                name, f"{count / seconds:,.0f}", f"{seconds:.2f}", f"{cpu / count * 1e6:.0f}", f"{longest:.1f}"
            )
    console.print(table)


if __name__ == "__main__":
    asyncio.run(main())
