"""Fixtures for tests of services; each does nothing until a test asks for it."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

try:
    from pytest_asyncio import fixture as asyncio_fixture
except ImportError:  # then the fixture `hippo` says so
    asyncio_fixture = None

if TYPE_CHECKING:
    from hippo_messenger.settings import Settings
    from hippo_messenger.testing import System

__all__ = ["hippo_prefix", "hippo_redis_url", "hippo_settings"]

_VARIABLE = "HIPPO_TEST_REDIS_URL"


@pytest.fixture(scope="session")
def hippo_redis_url() -> Iterator[str]:
    """A server: the one that `HIPPO_TEST_REDIS_URL` names, else an embedded one that this run has for itself."""
    from hippo_messenger.queues.embedded import EmbeddedServer

    named = os.environ.get(_VARIABLE)
    if named:
        yield named
        return
    server = EmbeddedServer.private()
    with ThreadPoolExecutor(1) as thread:  # an event loop of its own, away from the one that the tests have
        thread.submit(asyncio.run, server.start()).result()
        try:
            yield server.url
        finally:
            thread.submit(asyncio.run, server.close()).result()


@pytest.fixture
def hippo_prefix() -> str:
    """A prefix that no other test has, also not one in another process."""
    return f"{{test-{secrets.token_hex(8)}}}"


@pytest.fixture
def hippo_settings(hippo_prefix: str) -> Settings:
    """The defaults under a prefix of its own, but impatient; override it for other ones."""
    from hippo_messenger.settings import Settings

    return Settings(
        prefix=hippo_prefix,
        block_timeout=2,
        empty_registry_delay=0.05,
        presence_interval=0.5,
        worker_lock=1.0,
        worker_stall_check=0.4,
        broker_lock=1.0,
        broker_stall_check=0.4,
        unknown_type_delay=0.1,
    )


if asyncio_fixture is not None:

    @asyncio_fixture
    async def hippo(hippo_redis_url: str, hippo_settings: Settings) -> AsyncIterator[System]:
        """An isolated system; all that was made through it is closed at the end, and its keys are removed."""
        from hippo_messenger.testing import System

        async with System(hippo_redis_url, settings=hippo_settings) as system:
            yield system

else:

    @pytest.fixture
    def hippo() -> None:
        """Says what is missing."""
        pytest.fail("the fixture `hippo` needs pytest-asyncio: pip install pytest-asyncio")
