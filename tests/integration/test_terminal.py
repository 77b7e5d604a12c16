"""What the command draws in a terminal fits it, however narrow; each command runs as a process in a terminal."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import struct
import sys
import termios
from decimal import Decimal
from itertools import product

import pytest
from rich.cells import cell_len

from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService, OrderSuccess
from tests.contract.bus import Bus, Recorder
from tests.integration.commands import HIDDEN

CONTROL = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
ROWS = 60


async def drawn(*words: str, columns: int, **variables: str) -> tuple[int, list[str]]:
    """Exit code, and the lines that a terminal of this width gets, without what is only about colours and places."""
    terminal, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if not name.startswith((*HIDDEN, "COLUMNS"))}
    environment |= {"TERM": "xterm-256color"} | variables
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hippo_messenger", *words), env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    text = await asyncio.to_thread(_all_of, terminal)
    return await process.wait(), re.split(r"[\r\n]+", CONTROL.sub("", text))


def _all_of(terminal: int) -> str:
    pieces = []
    try:
        while piece := os.read(terminal, 65536):
            pieces.append(piece)
    except OSError:  # what Linux says when the other end is closed
        pass
    finally:
        os.close(terminal)
    return b"".join(pieces).decode()


async def _a_busy_system(bus: Bus) -> None:
    await bus.broker()
    shipping = await bus.listener(HippoService.SHIPPING, *HippoEvent)
    await bus.listener(HippoService.NOTIFICATION, HippoEvent.ORDER_SUCCESS)
    await bus.worker(shipping, Recorder())
    events = [OrderSuccess(order_id=f"A-{number}", total=Decimal(1)) for number in range(30)]
    await bus.messenger(HippoService.ORDER).send_many(events)
    await bus.messenger(HippoService.BILLING).send_many(events)
    await bus.settled("shipping", completed=60)


async def test_tables_fit(bus: Bus) -> None:
    await _a_busy_system(bus)
    options = ("--redis", bus.url, "--prefix", bus.settings.prefix)
    for words, columns in product(("status", "services", "events", "events order_success"), (80, 140)):
        code, lines = await drawn(*words.split(), *options, columns=columns)
        assert code == 0, lines
        assert any(set(line) == {"─"} for line in lines), lines
        assert max(cell_len(line) for line in lines) <= columns, words


@pytest.mark.parametrize("columns", [80, 140])
async def test_a_trail_fits(bus: Bus, columns: int) -> None:
    await bus.broker()
    for service in (HippoService.ACCOUNT, HippoService.NOTIFICATION, HippoService.SHIPPING):
        await bus.listener(service, HippoEvent.ORDER_SUCCESS)
    options = ("--redis", bus.url, "--prefix", bus.settings.prefix)
    following = asyncio.create_task(drawn("tail", "-n", "4", *options, columns=columns))
    order = bus.messenger(HippoService.ORDER)
    while not following.done():
        await order.send(OrderSuccess(order_id="A-1", total=Decimal(1)))
        await asyncio.sleep(0.05)
    code, lines = following.result()
    assert code == 0, lines
    assert max(cell_len(line) for line in lines) <= columns
    shown = " ".join(" ".join(lines).split())
    assert "order → account, notification, shipping" in shown


@pytest.mark.parametrize("columns", [80, 140])
async def test_the_demo_shows_a_live_table_with_percentiles_that_fits(redis_server: str, columns: int) -> None:
    words = ("demo", "--events", "120", "--rate", "200", "--redis", redis_server)
    code, lines = await drawn(*words, columns=columns)
    assert code == 0, lines
    assert max(cell_len(line) for line in lines) <= columns
    live = [line.split() for line in lines if line.split()[-2:] == ["p50", "p99"]]
    assert len(live) > 2, "it is drawn again and again"
    assert ["done", "of", "retried", "dead", "p50", "p99"] in live
    assert any("━" in line and line.startswith("shipping") for line in lines)
