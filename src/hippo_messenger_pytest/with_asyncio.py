"""The fixture `hippo`, where pytest-asyncio runs asynchronous tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest_asyncio

if TYPE_CHECKING:
    from hippo_messenger.settings import Settings
    from hippo_messenger.testing import System

__all__ = ["hippo"]


@pytest_asyncio.fixture
async def hippo(hippo_redis_url: str, hippo_settings: Settings) -> AsyncIterator[System]:
    """An isolated system; all that was made through it is closed at the end, and its keys are removed."""
    from hippo_messenger.testing import System

    async with System(hippo_redis_url, settings=hippo_settings) as system:
        yield system
