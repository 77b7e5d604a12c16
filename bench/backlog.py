"""What a long backlog costs: memory of broker and worker, and how fast they go beside a short one.

    make bench-backlog                                      # a million waiting events
    make bench-backlog ARGS="--waiting 200000 --bytes 400"

A server of its own; broker and worker are processes of their own, one after the other, so that all events wait first
for the one and then for the other. The speed is that of the first events of the backlog, as events a second and as the
processor time of Redis' main thread, which counts on a busy machine. Beside it the same number of events in a queue
that holds no more. At the end a backlog of the largest events.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import redis.asyncio
import uvloop
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.server import Server, machine
from hippo_messenger import (
    HippoBroker,
    HippoEvent,
    HippoJob,
    HippoMessenger,
    HippoService,
    HippoWorker,
    OrderSuccess,
    Settings,
)
from hippo_messenger.queues.layout import Layout

SETTINGS = Settings(prefix="{bench}", completed_count=1000)
LAYOUT = Layout(SETTINGS.prefix)
LARGEST = 1024 * 1024


@dataclass(frozen=True)
class Passed:
    """How one process got through the first events of a backlog."""

    events: int
    seconds: float
    redis_seconds: float
    memory: float
    """MB, at its most until the whole backlog was done."""


async def process_backlog(program: str, *, waiting: int, measured: int, size: int) -> tuple[Passed, Passed]:
    """A backlog put before the broker, then before the worker."""
    async with Server(program, append_only=False) as server, watching(server.url) as watcher:
        async with (
            running("broker", server.url),
            HippoMessenger(
                service_name=HippoService.SHIPPING,
                listens_to=[HippoEvent.ORDER_SUCCESS],
                redis_connection=server.url,
                settings=SETTINGS,
            ) as shipping,
        ):
            await shipping.register(wait=True, timeout=60)
        await send(server.url, waiting, size)
        async with running("broker", server.url) as broker:
            routed = await passed(watcher, broker, "broker", waiting=waiting, measured=measured)
        async with running("worker", server.url) as worker:
            done = await passed(watcher, worker, "shipping", waiting=waiting, measured=measured)
    return routed, done


@asynccontextmanager
async def watching(url: str) -> AsyncIterator[Any]:
    watcher = redis.asyncio.Redis.from_url(url, socket_timeout=60)
    yield watcher
    await watcher.aclose()


@asynccontextmanager
async def running(role: str, url: str) -> AsyncIterator[Process]:
    """A process of this program in a role, until the end of the block."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "bench.backlog", role, url, stdout=DEVNULL)
    yield process
    process.terminate()
    await process.wait()


async def send(url: str, count: int, size: int) -> None:
    order = OrderSuccess(order_id="O-000123", total=Decimal("61.30"), email="c-00042@example.com")
    order = order.model_copy(update={"order_id": "O" * max(size - 250, 8)})
    async with HippoMessenger(service_name=HippoService.ORDER, redis_connection=url, settings=SETTINGS) as messenger:
        for first in range(0, count, 1000):
            await messenger.send_many([order] * min(1000, count - first))


async def passed(watcher: Any, process: Process, queue: str, *, waiting: int, measured: int) -> Passed:
    """Wait until a process has taken the first events, then the rest of them."""
    key = LAYOUT.queue(queue).base + "wait"
    await left(watcher, key, waiting - 1)  # it is up
    before, began = await watcher.llen(key), time.monotonic()
    spent = await processor_seconds(watcher)
    await left(watcher, key, waiting - measured)
    events, seconds = before - await watcher.llen(key), time.monotonic() - began
    spent = await processor_seconds(watcher) - spent
    await left(watcher, key, 0)
    while await watcher.exists(LAYOUT.queue(queue).base + "active"):
        await asyncio.sleep(0.05)
    return Passed(events, seconds, spent, highest_memory(process.pid))


async def left(watcher: Any, key: str, count: int) -> None:
    while await watcher.llen(key) > count:
        await asyncio.sleep(0.01)


async def processor_seconds(watcher: Any) -> float:
    """Of Redis' main thread."""
    info = await watcher.info("cpu")
    return float(info["used_cpu_user_main_thread"]) + float(info["used_cpu_sys_main_thread"])


def highest_memory(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    match = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(match[1]) / 1024 if match else 0.0


async def broker(url: str) -> None:
    async with HippoBroker(redis_connection=url, settings=SETTINGS):
        await until_terminated()


async def worker(url: str) -> None:
    async def process(job: HippoJob[Any]) -> None:
        """Done."""

    messenger = HippoMessenger(service_name=HippoService.SHIPPING, redis_connection=url, settings=SETTINGS)
    async with messenger, HippoWorker(messenger=messenger, processor=process, concurrency=50):
        await until_terminated()


async def until_terminated() -> None:
    terminated = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminated.set)
    await terminated.wait()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--waiting", type=int, default=1_000_000)
    parser.add_argument("--measured", type=int, default=20_000, help="how many of them the speed is taken of")
    parser.add_argument("--bytes", type=int, default=400)
    parser.add_argument("--large", type=int, default=300, help=f"how many events of {LARGEST:,} bytes; 0 for none")
    parser.add_argument("--server", default=shutil.which("redis-server") or shutil.which("valkey-server"))
    asked = parser.parse_args()
    if not asked.server:
        raise SystemExit("no redis-server on PATH; name one with --server")
    Console().print(machine(asked.server), highlight=False, soft_wrap=True)
    table = Table(title="A backlog", title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for title in ("waiting", "bytes", "process", "events/s", "µs of Redis/event", "MB at most"):
        table.add_column(title, justify="left" if title == "process" else "right")
    measured = min(asked.measured, asked.waiting)
    cases = [(measured, measured, asked.bytes), (asked.waiting, measured, asked.bytes)]
    cases += [(asked.large, asked.large, LARGEST - 1024)] if asked.large else []
    for waiting, first, size in cases:
        both = await process_backlog(asked.server, waiting=waiting, measured=first, size=size)
        for name, one in zip(("broker", "worker"), both, strict=True):
            table.add_row(
                *(f"{waiting:,}", f"{size:,}", name, f"{one.events / one.seconds:,.0f}"),
                *(f"{1e6 * one.redis_seconds / max(one.events, 1):.1f}", f"{one.memory:.0f}"),
            )
    Console().print(table)


if __name__ == "__main__":
    if sys.argv[1:2] in (["broker"], ["worker"]):
        uvloop.run({"broker": broker, "worker": worker}[sys.argv[1]](sys.argv[2]))
    else:
        os.environ.pop("HIPPO_PREFIX", None)
        asyncio.run(main())
