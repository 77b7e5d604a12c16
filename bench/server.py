"""A Redis for one run of a benchmark, and what it runs on."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import chain
from pathlib import Path

import redis.asyncio

from bench.process import megabytes

__all__ = ["Server", "machine"]

ADVISED = {"--hash-max-listpack-value": "8192"}
"""What docs/guides/redis.md advises for a Redis with BullMQ queues, whoever serves them; every contestant has it."""


class Server:
    """A Redis of one run, on a socket or, with a port, on the loopback."""

    def __init__(self, program: str, *, append_only: bool, port: int = 0, under: Sequence[str] = ()) -> None:
        """Take a program, with settings of its own if it is to have any, and `under`: what it is to be run by."""
        path, settings = _read(program)
        self._directory = Path(tempfile.mkdtemp(prefix="hippo-bench-"))
        self.url = f"redis://127.0.0.1:{port}/0" if port else f"unix://{self._directory}/redis.sock"
        keep = ("--appendonly", "yes", "--appendfsync", "everysec") if append_only else ("--appendonly", "no")
        socket = ("--port", str(port), "--bind", "127.0.0.1", "--unixsocket", str(self._directory / "redis.sock"))
        self._words = (*under, path, *socket, "--dir", str(self._directory), "--save", "", *keep, *settings)

    async def __aenter__(self) -> Server:
        self._process = await asyncio.create_subprocess_exec(*self._words, stdout=asyncio.subprocess.DEVNULL)
        self._client = redis.asyncio.Redis.from_url(self.url)
        while True:
            try:
                await self._client.ping()
                return self
            except redis.exceptions.ConnectionError:
                await asyncio.sleep(0.01)

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()
        self._process.kill()
        await self._process.wait()
        shutil.rmtree(self._directory)

    async def cpu(self) -> float:
        """Seconds so far."""
        info = await self._client.info("cpu")
        return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])

    def memory(self) -> float:
        """The most (MB) that it has had so far, without the process that rewrites its file now and then."""
        return megabytes(self._process.pid, "VmHWM")


def machine(program: str, *, packages: Path | None = None) -> str:
    """Date, processor and versions, in one line; `packages` is where the npm packages stand."""
    path, settings = _read(program)
    words = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout.split()
    server = next(word for word in words if word.startswith("v=")).removeprefix("v=")
    facts = [
        f"{datetime.now(UTC):%Y-%m-%d}",
        f"{os.cpu_count()} cores of {_processor()}",
        f"{words[0]} {server} ({' '.join(settings).replace('--', '')})",
        f"Python {platform.python_version()}",
        *(f"{name} {version(name)} (Python)" for name in ("redis", "hiredis", "pydantic", "bullmq")),
    ]
    if packages is not None:
        node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
        bullmq = json.loads((packages / "node_modules" / "bullmq" / "package.json").read_text())["version"]
        facts += [f"Node {node}", f"bullmq {bullmq} (npm)"]
    return ", ".join(facts)


def _read(program: str) -> tuple[str, Sequence[str]]:
    """Where the program is, and its settings: its own, and of those that are advised what it doesn't say itself."""
    path, *own = shlex.split(program)
    settings = ADVISED | dict(zip(own[::2], own[1::2], strict=True))
    return path, [*chain.from_iterable(settings.items())]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
