"""The test kit's proxy, under the names that our tests had for it before."""

from __future__ import annotations

from hippo_messenger.testing.proxy import Proxy

__all__ = ["FlakyProxy"]


class FlakyProxy(Proxy):
    """Forwards bytes both ways; a dropped reply closes its connection, after the server has done what was asked."""

    reset = Proxy.cut
    swallow = Proxy.half_open
