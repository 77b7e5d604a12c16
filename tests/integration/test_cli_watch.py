"""`hippo status --watch`, for as long as one likes: in any terminal, in a pipe, and while Redis is away."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService
from hippo_messenger.testing import Proxy
from tests.contract.bus import Bus
from tests.integration.commands import HIDDEN, Operator, said

CLASH = "clash: shipping is registered in turn by two deployments"


@pytest.fixture
async def hippo(bus: Bus, tmp_path: Path) -> AsyncIterator[Operator]:
    operator = Operator(bus, tmp_path)
    yield operator
    await operator.close()


async def a_clash(bus: Bus) -> None:
    await bus.broker()
    for event_type in (HippoEvent.ORDER_SUCCESS, HippoEvent.CONFIG_CHANGE, HippoEvent.ORDER_SUCCESS):
        await bus.listener(HippoService.SHIPPING, event_type)


@pytest.mark.parametrize("kind", ["dumb", "xterm-256color"])
async def test_every_terminal_shows_the_tables_and_who_clashes(bus: Bus, kind: str) -> None:
    """Guards against an empty screen where nothing can be drawn anew, and a clash that only a single look shows."""
    await a_clash(bus)
    terminal, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(HIDDEN)}
    environment |= {"HIPPO_REDIS_URL": bus.url, "HIPPO_PREFIX": bus.settings.prefix, "TERM": kind}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hippo_messenger", "status", "--watch", "0.2"),
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    loop, shown, enough = asyncio.get_running_loop(), bytearray(), asyncio.Event()

    def read() -> None:
        shown.extend(os.read(terminal, 65536))
        if shown.count(b"done/min") >= 2 and shown.count(CLASH.encode()) >= 2:
            enough.set()

    loop.add_reader(terminal, read)
    try:
        async with asyncio.timeout(30):
            await enough.wait()
    finally:
        loop.remove_reader(terminal)
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130, shown
        os.close(terminal)


async def test_a_pipe_gets_who_clashes_with_each_table(bus: Bus, hippo: Operator) -> None:
    await a_clash(bus)
    watching = await hippo.start("status", "--watch", "3600")
    assert watching.stdout is not None
    async with asyncio.timeout(30):
        while CLASH not in (await watching.stdout.readline()).decode():
            assert watching.returncode is None
    watching.send_signal(signal.SIGINT)
    assert await watching.wait() == 130


async def test_it_goes_on_when_redis_is_back(hippo: Operator, proxy: Proxy) -> None:
    """Guards against a watch that ends with the first connection that breaks, in the fail-over that one watches."""
    watching = await hippo.start("status", "--watch", "0.2", "--json", "--redis", proxy.url)
    assert watching.stdout is not None
    async with asyncio.timeout(60):
        assert json.loads(await watching.stdout.readline())
        proxy.refuse(on=True)
        proxy.cut()
        await said(watching, "looking again every 0.2 s")
        proxy.refuse(on=False)
        assert json.loads(await watching.stdout.readline())
    watching.send_signal(signal.SIGINT)
    assert await watching.wait() == 130
