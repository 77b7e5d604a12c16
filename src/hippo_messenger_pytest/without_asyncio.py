"""The fixture `hippo`, where nothing runs asynchronous tests."""

from __future__ import annotations

import pytest

__all__ = ["hippo"]


@pytest.fixture
def hippo() -> None:
    """Says what is missing."""
    pytest.fail("the fixture `hippo` needs pytest-asyncio, which is not here: pip install pytest-asyncio")
