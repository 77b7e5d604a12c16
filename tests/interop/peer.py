"""A stock Node BullMQ service, as a process that a test tells what to do."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any

from tests.conftest import missing

HERE = Path(__file__).parent
EXAMPLES = HERE.parent.parent / "examples" / "node"


def node() -> str:
    """The program, if it and the stock packages are there."""
    program = shutil.which("node")
    if program is None:
        missing("Node")
    if not (HERE / "node_modules" / "bullmq").exists():
        missing("the stock bullmq (make node-packages)")
    return str(program)


class Peer:
    """One Node process; what it says is kept in order."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._reading = asyncio.create_task(self._read())
        self._heard = asyncio.Condition()
        self._ended = False
        self.said: list[dict[str, Any]] = []

    @classmethod
    async def start(cls, *arguments: str, script: str = "service.mjs") -> Peer:
        """Run a script of this folder; the arguments begin with the URL and the prefix."""
        process = await asyncio.create_subprocess_exec(
            node(), str(HERE / script), *arguments, stdin=PIPE, stdout=PIPE, limit=2**24
        )
        peer = cls(process)
        await peer.until(lambda said: said.get("did") == "start")
        return peer

    async def tell(self, action: str, **words: Any) -> dict[str, Any]:
        """Have it do something; what it says when that is done."""
        assert self._process.stdin is not None
        before = len(self.said)
        self._process.stdin.write(json.dumps({"do": action, **words}).encode() + b"\n")
        return await self.until(lambda said: said.get("did") == action, after=before)

    async def until(self, fits: Any, *, after: int = 0, timeout: float = 30) -> dict[str, Any]:
        """The first thing that it says and that fits."""

        def found() -> dict[str, Any] | None:
            return next((said for said in self.said[after:] if fits(said)), None)

        async with asyncio.timeout(timeout), self._heard:
            await self._heard.wait_for(lambda: found() or self._ended)
        fitting = found()
        assert fitting is not None, "it ended before it said so"
        return fitting

    async def got(self, count: int, *, timeout: float = 30) -> list[dict[str, Any]]:
        """The first so many jobs that came to its workers."""

        def jobs() -> list[dict[str, Any]]:
            return [said for said in self.said if "got" in said]

        async with asyncio.timeout(timeout), self._heard:
            await self._heard.wait_for(lambda: len(jobs()) >= count)
        return jobs()

    async def stop(self) -> None:
        if self._process.returncode is None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                async with asyncio.timeout(15):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        await self._reading

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            async with self._heard:
                self.said.append(json.loads(line))
                self._heard.notify_all()
        async with self._heard:
            self._ended = True
            self._heard.notify_all()


async def run_example(name: str, directory: Path, url: str, prefix: str) -> Process:
    """One of examples/node, with the stock packages beside it."""
    if not (directory / "node_modules").exists():
        (directory / "node_modules").symlink_to(HERE / "node_modules")
    shutil.copy(EXAMPLES / name, directory / name)
    elsewhere = "redis://no-such-host.invalid"
    environment = os.environ | {"HIPPO_REDIS_URL": url, "REDIS_URL": elsewhere, "HIPPO_PREFIX": prefix}
    return await asyncio.create_subprocess_exec(node(), str(directory / name), env=environment, stdout=PIPE)
