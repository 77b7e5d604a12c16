"""Where `eventually` was before the test kit had it."""

from __future__ import annotations

from hippo_messenger.testing.eventually import eventually

__all__ = ["eventually"]
