"""An isolated system for each test, and stock BullMQ beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from hippo_messenger.settings import Settings
from tests.contract.bus import Bus
from tests.interop.tools import NodeTools, PythonTools, Tools


@pytest.fixture
def settings(prefix: str) -> Settings:
    """The defaults, but impatient."""
    return Settings(prefix=prefix, block_timeout=1, empty_registry_delay=0.05, worker_stall_check=0.4, worker_grace=5)


@pytest.fixture
async def node(bus: Bus) -> AsyncIterator[NodeTools]:
    """BullMQ in Node."""
    tools = await NodeTools.start(bus.url, bus.settings.prefix)
    yield tools
    await tools.close()


@pytest.fixture
async def python(bus: Bus) -> AsyncIterator[PythonTools]:
    """BullMQ's Python package."""
    tools = PythonTools(bus.url, bus.settings.prefix)
    yield tools
    await tools.close()


@pytest.fixture(params=["node", "python"])
def tools(request: pytest.FixtureRequest) -> Tools:
    """Each of the two in turn."""
    found: Tools = request.getfixturevalue(request.param)
    return found
