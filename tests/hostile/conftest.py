"""A running system for each test that is hostile to it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from hippo_messenger.settings import Settings
from tests.hostile.system import System


@pytest.fixture
def settings(prefix: str) -> Settings:
    """The defaults, but impatient."""
    return Settings(
        prefix=prefix,
        call_timeout=5,
        block_timeout=1,
        presence_interval=0.2,
        worker_lock=3.0,
        worker_stall_check=0.3,
        worker_max_stalls=100,
        broker_lock=3.0,
        broker_stall_check=0.3,
        unknown_type_delay=0.05,
        unknown_type_patience=0.1,
    )


@pytest.fixture
async def system(redis_server: str, settings: Settings) -> AsyncIterator[System]:
    """Broker, sender and a service with a worker, all at work; at the end they must have been so all the time."""
    system = System(redis_server, settings)
    await system.start()
    try:
        yield system
        system.check_alive()
    finally:
        await system.close()
