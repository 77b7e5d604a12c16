"""An isolated system for each test of the delivery contract."""

from __future__ import annotations

import pytest

from hippo_messenger.settings import Settings


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
