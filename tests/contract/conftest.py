"""An isolated system for each test of the delivery contract."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import pytest

from hippo_messenger.settings import Settings
from tests.contract.bus import Bus
from tests.proxy import FlakyProxy


@pytest.fixture
def settings(prefix: str) -> Settings:
    """The defaults, but impatient: what takes seconds in production takes parts of one here."""
    return Settings(
        prefix=prefix,
        call_timeout=5,
        block_timeout=2,
        empty_registry_delay=0.05,
        presence_interval=0.2,
        worker_lock=1.0,
        worker_stall_check=0.4,
        broker_lock=1.0,
        broker_stall_check=0.4,
        unknown_type_delay=0.1,
    )


@pytest.fixture
async def bus(redis_server: str, settings: Settings) -> AsyncIterator[Bus]:
    bus = Bus(redis_server, settings)
    try:
        yield bus
    finally:
        await bus.close()


@pytest.fixture
async def proxy(redis_server: str) -> AsyncIterator[FlakyProxy]:
    """In front of the server, losing what it is told to lose."""
    proxy = FlakyProxy(redis_server)
    await proxy.start()
    yield proxy
    await proxy.stop()


@pytest.fixture
def unused_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
