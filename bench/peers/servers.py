"""Servers of one run that are not Redis: RabbitMQ and NATS, each in a directory and on ports of its own."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import tempfile
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping
from pathlib import Path

from bench.process import most_megabytes, tree_seconds

__all__ = ["NatsServer", "RabbitServer", "free_port", "rabbit_program", "rabbit_version"]


class NatsServer:
    """A nats-server with JetStream, whose files are synced every second, as Redis' append-only file is."""

    def __init__(self, program: str) -> None:
        port = free_port()
        self.url = f"nats://127.0.0.1:{port}"
        self._program = program
        self._port = port

    async def __aenter__(self) -> NatsServer:
        self._directory = Path(tempfile.mkdtemp(prefix="hippo-bench-"))
        settings = self._directory / "nats.conf"
        settings.write_text(
            f'listen: "127.0.0.1:{self._port}"\n'
            f'jetstream {{ store_dir: "{self._directory / "store"}", sync_interval: "1s" }}\n'
        )
        self._process = await started((self._program, "--config", str(settings)))
        await answering(self._process, self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        await killed(self._process)
        shutil.rmtree(self._directory)

    async def cpu(self) -> float:
        """Seconds so far."""
        return tree_seconds(self._process.pid)

    def memory(self) -> float:
        """The most (MB) that it has had so far."""
        return most_megabytes(self._process.pid)


class RabbitServer:
    """A RabbitMQ node without plugins, with a name, files and a port mapper (epmd) of its own."""

    def __init__(self, program: str) -> None:
        self._port = free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self._port}/"
        self._program = program

    async def __aenter__(self) -> RabbitServer:
        self._directory = Path(tempfile.mkdtemp(prefix="hippo-bench-"))
        environment = self._environment()
        self._mapper = await started(("epmd",), environment)
        await answering(self._mapper, int(environment["ERL_EPMD_PORT"]))
        self._process = await started((self._program,), environment)
        await answering(self._process, self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        await killed(self._process)
        await killed(self._mapper)
        shutil.rmtree(self._directory)

    async def cpu(self) -> float:
        """Seconds so far."""
        return tree_seconds(self._process.pid)

    def memory(self) -> float:
        """The most (MB) that it has had so far."""
        return most_megabytes(self._process.pid)

    def _environment(self) -> dict[str, str]:
        """What keeps this node away from any other of this machine, and from its settings."""
        home = self._directory
        files = {"rabbitmq.conf": f"listeners.tcp.1 = 127.0.0.1:{self._port}\n", "enabled_plugins": "[].\n", "env": ""}
        for name, text in files.items():
            (home / name).write_text(text)
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(free_port()),
            "RABBITMQ_CONF_ENV_FILE": str(home / "env"),
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_LOG_BASE": str(home / "log"),
            "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
            "RABBITMQ_NODENAME": f"hippo-bench-{self._port}@localhost",
            "RABBITMQ_PID_FILE": str(home / "pid"),
        }


def rabbit_program() -> str | None:
    """Where it is; Debian's program on PATH would go on as another user, and log elsewhere."""
    plain = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
    on_path = shutil.which("rabbitmq-server")
    return str(plain) if on_path and plain.exists() else on_path


def rabbit_version(program: str) -> str:
    """As its files are named: `rabbitmqctl version` would leave a port mapper and a cookie behind."""
    server = next((Path(program).resolve().parents[1] / "plugins").glob("rabbit-*"), None)
    return server.name.removeprefix("rabbit-") if server else "unknown"


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


async def started(words: tuple[str, ...], environment: Mapping[str, str] | None = None) -> Process:
    """A process with a group of its own, so that its children can be ended with it."""
    return await asyncio.create_subprocess_exec(
        *words, env=environment, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL, start_new_session=True
    )


async def answering(process: Process, port: int) -> None:
    """Wait until something listens on the port.

    Raises:
        RuntimeError: The server ended instead.
        TimeoutError: It took more than a minute.
    """
    async with asyncio.timeout(60):
        while process.returncode is None:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.close()
            return
    raise RuntimeError("the server ended while it was starting")


async def killed(process: Process) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    await process.wait()
