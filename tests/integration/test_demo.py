"""`hippo demo`: it runs, it accounts, and it can say that something is wrong."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import pytest

from tests.eventually import eventually

LINE = {"from": "order", "type": "ORDER_SUCCESS", "data": {"orderId": "A-1", "total": "1"}}


async def demo(*words: str, directory: Path) -> Process:
    environment = os.environ | {"COLUMNS": "100", "TMPDIR": str(directory)}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hippo_messenger", "demo", *words, env=environment, stdout=PIPE, stderr=PIPE
    )


async def ended(process: Process) -> tuple[int | None, str]:
    out, err = await process.communicate()
    return process.returncode, " ".join((out + err).decode().split())


async def test_every_event_of_the_shipped_feed_is_accounted_for(tmp_path: Path) -> None:
    code, shown = await ended(await demo("--events", "400", directory=tmp_path))
    assert code == 0, shown
    assert "✓ Every event is accounted for: 400 lines of the feed" in shown
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


async def test_on_a_server_of_ones_own_nothing_stays(redis_server: str, tmp_path: Path) -> None:
    feed = tmp_path / "own.ndjson"
    feed.write_text(
        "".join(json.dumps(LINE) + "\n" for _ in range(20)) + '{"from":"order","type":"ORDER_SUCCESS","data":{}}\n'
    )
    process = await demo("--input", str(feed), "--rate", "100", "--redis", redis_server, directory=tmp_path)
    code, shown = await ended(process)
    assert code == 0, shown
    assert "21 lines of the feed, 60 deliveries" in shown


@pytest.mark.chaos
async def test_a_process_that_dies_ends_the_demo_with_its_name(redis_server: str, tmp_path: Path) -> None:
    process = await demo("--rate", "20", "--redis", redis_server, directory=tmp_path)

    async def killed() -> None:
        if process.returncode is not None:
            pytest.fail(f"the demo ended before its time: {await ended(process)}")
        children = children_of(process.pid)
        members = [pid for pid, words in children if "demo.member notification" in words]
        assert len(members) == 1, children
        ledger = list(tmp_path.glob("hippo-demo-*/notification.ndjson"))
        assert ledger
        assert ledger[0].stat().st_size > 0
        os.kill(members[0], signal.SIGKILL)

    await eventually(killed, timeout=30)
    code, shown = await ended(process)
    assert code == 1
    assert "notification has ended with code -9" in shown
    assert "Traceback" not in shown


@pytest.mark.chaos
async def test_ctrl_c_leaves_no_process_behind(redis_server: str, tmp_path: Path) -> None:
    process = await demo("--rate", "20", "--redis", redis_server, directory=tmp_path)
    children: list[int] = []

    async def running() -> None:
        assert list(tmp_path.glob("hippo-demo-*/order.ndjson"))
        children.extend(pid for pid, _ in children_of(process.pid))
        assert len(children) >= 9

    await eventually(running, timeout=30)
    process.send_signal(signal.SIGINT)
    code, shown = await ended(process)
    assert code == 130, shown
    assert "Traceback" not in shown
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]


def children_of(parent: int) -> list[tuple[int, str]]:
    """The processes that one has started, with their command lines."""
    with os.popen(f"ps -ww -o pid=,args= --ppid {parent}") as found:  # -ww: whatever COLUMNS says
        rows = [line.strip().split(None, 1) for line in found]
    return [(int(pid), args) for pid, args in rows]
