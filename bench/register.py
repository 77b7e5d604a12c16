"""How long `register(wait=True)` takes until routing is live: on an idle system, and behind events that wait.

    make bench-register                                     # with 100,000 waiting events
    make bench-register ARGS="--waiting 10000 --runs 3"

One server of its own, one broker process. The backlog is put into the broker's queue while that is paused, so that all
of it waits when the registration is made.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from asyncio.subprocess import DEVNULL

from rich.box import SIMPLE_HEAD
from rich.table import Table

from bench.options import asked, parser
from bench.order import an_order
from bench.server import Server, machine
from bench.tables import headed
from hippo_messenger import HippoEvent, HippoMessenger, HippoService, Settings

SETTINGS = Settings(prefix="{bench}")


async def timed(server: Server, *, waiting: int) -> float:
    """Seconds that one registration took."""
    environment = os.environ | {"HIPPO_PREFIX": SETTINGS.prefix, "HIPPO_REDIS_URL": server.url}
    broker = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hippo_messenger", "broker", env=environment, stderr=DEVNULL
    )
    try:
        async with (
            messenger(HippoService.NOTIFICATION, server) as listener,
            messenger(HippoService.ORDER, server) as order,
        ):
            await listener.register(wait=True, timeout=30)
            if waiting:
                await hippo("pause", "broker", environment=environment)
                for first in range(0, waiting, 1000):
                    await order.send_many([an_order()] * min(1000, waiting - first))
                await hippo("resume", "broker", environment=environment)
            async with messenger(HippoService.SHIPPING, server) as shipping:
                began = time.monotonic()
                await shipping.register(wait=True, timeout=60)
                return time.monotonic() - began
    finally:
        broker.terminate()
        await broker.wait()


def messenger(service: HippoService, server: Server) -> HippoMessenger:
    listens_to = [] if service is HippoService.ORDER else [HippoEvent.ORDER_SUCCESS]
    return HippoMessenger(service_name=service, listens_to=listens_to, redis_connection=server.url, settings=SETTINGS)


async def hippo(*words: str, environment: dict[str, str]) -> None:
    command = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hippo_messenger", *words, env=environment, stdout=DEVNULL
    )
    assert await command.wait() == 0, words


async def main() -> None:
    wanted = parser(__doc__)
    wanted.add_argument("--waiting", type=int, default=100_000)
    wanted.add_argument("--runs", type=int, default=3)
    told = asked(wanted)
    console = headed(machine(told.server))
    table = Table(
        title="register(wait=True)", title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False
    )
    table.add_column("events waiting", justify="right")
    table.add_column("median s", justify="right")
    table.add_column("longest s", justify="right")
    for waiting in (0, told.waiting):
        seconds = []
        for _ in range(told.runs):
            async with Server(told.server, append_only=True) as server:
                seconds.append(await timed(server, waiting=waiting))
        table.add_row(f"{waiting:,}", f"{statistics.median(seconds):.3f}", f"{max(seconds):.3f}")
    console.print(table)


if __name__ == "__main__":
    asyncio.run(main())
