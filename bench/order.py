"""The event that benchmarks of ours alone send."""

from __future__ import annotations

from decimal import Decimal

from hippo_messenger import OrderSuccess

__all__ = ["an_order"]


def an_order(*, order_id: str = "O-000123") -> OrderSuccess:
    """One with few of its members."""
    return OrderSuccess(order_id=order_id, total=Decimal("61.30"), email="c-00042@example.com")
