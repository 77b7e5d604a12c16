"""What a process costs that has nothing to do: round trips to Redis, processor time, connections and memory.

    make bench-idle                                         # a minute
    make bench-idle ARGS="--seconds 10"

A broker, a worker and a sender, each a process with a Redis of its own. The round trips are what the server was asked,
by its own MONITOR; what a script calls is none.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

import redis.asyncio
import uvloop
from rich.box import SIMPLE_HEAD
from rich.table import Table

from bench.options import asked, parser
from bench.order import an_order
from bench.process import megabytes, processor_seconds, until_terminated
from bench.server import Server, machine
from bench.tables import headed
from hippo_messenger import HippoBroker, HippoJob, HippoMessenger, HippoService, HippoWorker
from hippo_messenger.catalogue.model import EventData


@dataclass(frozen=True)
class Cost:
    """Of one process, over the time that it was watched."""

    round_trips: int
    seconds: float
    connections: int
    megabytes: float


async def broker(url: str) -> None:
    async with HippoBroker(redis_connection=url):
        await idle()


async def worker(url: str) -> None:
    async def process(job: HippoJob[EventData]) -> None:
        """Nothing comes."""

    messenger = HippoMessenger(service_name=HippoService.SHIPPING, redis_connection=url)
    async with messenger, HippoWorker(messenger=messenger, processor=process):
        await idle()


async def sender(url: str) -> None:
    async with HippoMessenger(service_name=HippoService.ORDER, redis_connection=url) as messenger:
        await messenger.send(an_order())
        await idle()


ROLES: dict[str, Callable[[str], Coroutine[None, None, None]]] = {"broker": broker, "worker": worker, "sender": sender}


async def idle() -> None:
    """Say that all is ready, and do nothing until told to end."""
    print("ready", flush=True)
    await until_terminated()


async def watched(role: str, program: str, *, seconds: float) -> Cost:
    """What a process in this role costs, from some seconds after its start."""
    async with (
        Server(program, append_only=False) as server,
        redis.asyncio.Redis.from_url(server.url, socket_timeout=None) as watcher,
    ):
        others = len(await watcher.client_list())
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.idle", role, "--url", server.url, stdout=PIPE
        )
        assert process.stdout is not None
        try:
            await process.stdout.readline()
            await asyncio.sleep(3)  # what a start brings with it
            connections = len(await watcher.client_list()) - others
            spent = processor_seconds(process.pid)
            round_trips = await round_trips_of(watcher, seconds=seconds)
            spent = processor_seconds(process.pid) - spent
            return Cost(round_trips, spent, connections, megabytes(process.pid, "VmRSS"))
        finally:
            process.terminate()
            await process.wait()


async def round_trips_of(watcher: redis.asyncio.Redis, *, seconds: float) -> int:
    """How often the server was asked something from outside within so many seconds."""
    count = 0
    async with watcher.monitor() as monitor:
        try:
            async with asyncio.timeout(seconds):
                async for command in monitor.listen():
                    count += command["client_type"] != "lua"
        except TimeoutError:
            pass
    return count


async def main(program: str, *, seconds: float) -> None:
    console = headed(machine(program))
    costs = await asyncio.gather(*(watched(role, program, seconds=seconds) for role in ROLES))
    table = Table(
        title="with nothing to do, a minute", title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False
    )
    table.add_column("process")
    for name in ("round trips", "CPU s", "connections", "MB"):
        table.add_column(name, justify="right")
    for role, cost in zip(ROLES, costs, strict=True):
        minute = 60 / seconds
        trips, spent = cost.round_trips * minute, cost.seconds * minute
        table.add_row(role, f"{trips:.0f}", f"{spent:.2f}", str(cost.connections), f"{cost.megabytes:.0f}")
    console.print(table)


if __name__ == "__main__":
    options = parser(__doc__)
    options.add_argument("role", nargs="?", choices=ROLES, help=argparse.SUPPRESS)
    options.add_argument("--url", help=argparse.SUPPRESS)
    options.add_argument("--seconds", type=float, default=60)
    told = options.parse_args()
    if told.role:
        uvloop.run(ROLES[told.role](told.url))
    else:
        asyncio.run(main(asked(options).server, seconds=told.seconds))
