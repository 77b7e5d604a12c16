"""Fixtures for tests of services; each does nothing until a test asks for it."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hippo_messenger.settings import Settings

__all__ = ["hippo_prefix", "hippo_redis_url", "hippo_settings", "pytest_configure"]

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
        call_timeout=2,
        block_timeout=2,
        empty_registry_delay=0.05,
        presence_interval=0.5,
        worker_lock=1.0,
        worker_stall_check=0.4,
        broker_lock=1.0,
        broker_stall_check=0.4,
        unknown_type_delay=0.1,
    )


def pytest_configure(config: pytest.Config) -> None:
    """The fixture `hippo` is asynchronous; without pytest-asyncio it says that this is missing."""
    way = "with_asyncio" if config.pluginmanager.hasplugin("asyncio") else "without_asyncio"
    config.pluginmanager.import_plugin(f"hippo_messenger_pytest.{way}")
