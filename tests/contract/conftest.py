"""An isolated system for each test of the delivery contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hippo_messenger.settings import Settings
from tests.contract.bus import Bus
from tests.contract.outages import MortalServer
from tests.contract.processes import Fleet, fleet_of


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
async def mortal_server(server_binary: str, tmp_path: Path) -> AsyncIterator[MortalServer]:
    """A server of the test's own that it starts and kills."""
    server = MortalServer(server_binary, tmp_path)
    yield server
    await server.kill()


@pytest.fixture
async def mortal_bus(mortal_server: MortalServer, settings: Settings) -> AsyncIterator[Bus]:
    """On that server, which is started by the test."""
    bus = Bus(mortal_server.url, settings)
    yield bus
    await bus.close()


@pytest.fixture
async def fleet(bus: Bus) -> AsyncIterator[Fleet]:
    """Processes of the test's own; those that still run at the end are killed."""
    async with fleet_of(bus) as fleet:
        yield fleet
