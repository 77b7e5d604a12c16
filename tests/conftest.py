"""Servers for every test that needs one: real ones, on free ports."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from hippo_messenger.errors import EmbeddedServerError
from hippo_messenger.queues.embedded import server_program
from hippo_messenger.settings import Settings
from hippo_messenger.testing import Proxy
from tests.contract.bus import Bus

StartServer = Callable[..., str]


def missing(what: str) -> None:
    """Skip a test whose server or package is not there; in CI nothing may be missing."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing, and CI must have it")
    pytest.skip(f"{what} is missing")


@contextmanager
def running(program: str, directory: Path, *options: str, host: str = "127.0.0.1") -> Iterator[int]:
    """A server of its own on a free port, until the end of the block."""
    port = free_port()
    words = [program, "--port", str(port), "--bind", host, "--dir", str(directory), "--save", "", *options]
    with (directory / "server.out").open("wb") as log:
        server = subprocess.Popen(words, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection((host, port), timeout=1).close()
                break
            except OSError:
                assert server.poll() is None, (directory / "server.out").read_text()
                assert time.monotonic() < deadline, "the server did not come up"
                time.sleep(0.01)
        yield port
    finally:
        server.kill()
        server.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def server_binary() -> str:
    """The embedded Valkey; with HIPPO_TEST_SERVER=redis-server that one."""
    chosen = os.environ.get("HIPPO_TEST_SERVER")
    if chosen:
        found = shutil.which(chosen)
        if found is None:
            missing(chosen)
        return str(found)
    try:
        return server_program()
    except EmbeddedServerError as error:
        missing(str(error))
        raise


@pytest.fixture(scope="session")
def redis_server(server_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server that the tests of one run share."""
    with running(server_binary, tmp_path_factory.mktemp("redis")) as port:
        yield f"redis://127.0.0.1:{port}/0"


@pytest.fixture
def start_server(server_binary: str, tmp_path: Path) -> Iterator[StartServer]:
    """Servers of the test's own, each with options of its own."""
    with ExitStack() as stack:

        def start(*options: str) -> str:
            directory = tmp_path / f"server-{secrets.token_hex(4)}"
            directory.mkdir()
            return f"redis://127.0.0.1:{stack.enter_context(running(server_binary, directory, *options))}/0"

        yield start


@pytest.fixture
def prefix() -> str:
    """A prefix that no other test has."""
    return f"{{t-{secrets.token_hex(6)}}}"


@pytest.fixture
def unused_port() -> int:
    """A port on which nothing listens."""
    return free_port()


@pytest.fixture
async def proxy(redis_server: str) -> AsyncIterator[Proxy]:
    """In front of the server, losing what it is told to lose."""
    proxy = Proxy(redis_server)
    await proxy.start()
    yield proxy
    await proxy.stop()


@pytest.fixture
def settings(prefix: str) -> Settings:
    """The defaults, under a prefix of the test's own; a folder of tests may have more impatient ones."""
    return Settings(prefix=prefix)


@pytest.fixture
async def bus(redis_server: str, settings: Settings) -> AsyncIterator[Bus]:
    """Brokers, messengers and workers for the test, closed in order at its end."""
    bus = Bus(redis_server, settings)
    try:
        yield bus
    finally:
        await bus.close()
