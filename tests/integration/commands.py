"""The command `hippo`, run as a process beside a bus."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any

from tests.contract.bus import Bus

HIDDEN = ("HIPPO_", "REDIS_", "PYTHONUNBUFFERED")
"""Variables that a command doesn't see; the last one would hide what is printed and not flushed."""


class Operator:
    """Runs the command beside a bus, on the same server and prefix."""

    def __init__(self, bus: Bus, directory: Path) -> None:
        self.bus = bus
        self._directory = directory
        self._running: list[Process] = []

    async def start(self, *words: str, **variables: str) -> Process:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(HIDDEN)}
        environment |= {"HIPPO_REDIS_URL": self.bus.url, "HIPPO_PREFIX": self.bus.settings.prefix} | variables
        command = (sys.executable, "-m", "hippo_messenger", *words)
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, cwd=self._directory, stdout=PIPE, stderr=PIPE
        )
        self._running.append(process)
        return process

    async def run(self, *words: str, code: int = 0, lines: int = 1) -> str:
        """What it prints: on stdout where it works, on stderr where it refuses."""
        process = await self.start(*words)
        out, err = (stream.decode() for stream in await process.communicate())
        assert process.returncode == code, err
        assert "Traceback" not in err
        if code:
            assert err.count("\n") == lines
        return err if code else out

    async def json(self, *words: str) -> Any:
        return json.loads(await self.run(*words, "--json"))

    async def close(self) -> None:
        for process in self._running:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def said(process: Process, words: str) -> None:
    """Wait until it says this on stderr."""
    assert process.stderr is not None
    async with asyncio.timeout(30):
        while words not in (line := (await process.stderr.readline()).decode()):
            assert line, f"it ended without saying {words!r}"
