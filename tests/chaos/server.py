"""Redis as something that dies, hangs, runs out of memory or of disk, and comes back with what it had accepted."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import time
from asyncio.subprocess import Process
from pathlib import Path
from typing import Any

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from hippo_messenger.queues.embedded import server_program
from hippo_messenger.testing.eventually import eventually
from tests.conftest import free_port

__all__ = ["Server"]

_DISK = "256m"
_OPTIONS = ("--save", "", "--appendonly", "yes", "--loglevel", "notice", "--auto-aof-rewrite-min-size", "32mb")


class Server:
    """One server at one address, with an append-only file on a small disk of its own where this machine allows that."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._disk = directory / "disk"
        self._disk.mkdir(parents=True)
        self._port = free_port()
        self._process: Process | None = None
        self.has_own_disk = False
        """Only then can the disk be filled: it would be everybody's."""
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self.client: Any = redis.asyncio.Redis.from_url(
            self.url, socket_timeout=20, socket_connect_timeout=1, retry=Retry(NoBackoff(), 0)
        )

    async def start(self) -> float:
        """Start it, and wait until it answers; when that was."""
        if self._process is None:
            self._mount()
        # The kernel keeps what was written when the process dies. But where a disk is slow Redis puts a write off while
        # it syncs (everysec), so only a disk in memory, which needs no syncing, may do without syncing each.
        sync = "everysec" if self.has_own_disk else "always"
        program = os.environ.get("HIPPO_TEST_SERVER") or shutil.which("redis-server") or server_program()
        words = [program, "--port", str(self._port), "--bind", "127.0.0.1"]
        words += ["--dir", str(self._disk), "--appendfsync", sync, "--enable-debug-command", "local", *_OPTIONS]
        with (self._directory / "redis.out").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(*words, stdout=log, stderr=log)
        await eventually(self._answers, timeout=30, interval=0.002)
        return time.time()

    async def end(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        await self._process.wait()

    def send_signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def close(self) -> None:
        await self.client.aclose()
        if self._process is not None and self._process.returncode is None:
            await self.end(signal.SIGKILL)
        if self.has_own_disk:
            await asyncio.to_thread(subprocess.run, ["umount", str(self._disk)], check=False)

    async def fill_disk(self) -> None:
        """Leave no room at all."""
        await asyncio.to_thread(self._write_ballast)

    async def clear_disk(self) -> None:
        (self._disk / "ballast").unlink(missing_ok=True)

    def _write_ballast(self) -> None:
        with (self._disk / "ballast").open("wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while file.write(b"\0" * size) == size:
                        pass
                except OSError:
                    continue

    def _mount(self) -> None:
        words = ["mount", "-t", "tmpfs", "-o", f"size={_DISK},mode=0700", "tmpfs", str(self._disk)]
        try:
            self.has_own_disk = subprocess.run(words, capture_output=True, check=False).returncode == 0
        except OSError:
            self.has_own_disk = False

    async def _answers(self) -> bool:
        try:
            return bool(await self.client.ping())
        except (RedisError, OSError):
            if self._process is not None and self._process.returncode is not None:
                raise RuntimeError(f"the server ended by itself; see {self._directory}/redis.out") from None
            return False
