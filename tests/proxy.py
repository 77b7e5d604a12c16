"""Where the proxy was before the test kit had it."""

from __future__ import annotations

from hippo_messenger.testing.proxy import Proxy as FlakyProxy

__all__ = ["FlakyProxy"]
