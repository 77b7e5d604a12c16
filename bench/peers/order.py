"""The event that the contenders validate: Golden Hippo's OrderSuccess, for environments without this package."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

__all__ = ["Order"]


class Part(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, serialize_by_alias=True, extra="allow", frozen=True
    )


class Address(Part):
    name: str | None = None
    line1: str | None = None
    line2: str | None = None
    city: str | None = None
    region: str | None = None
    postal_code: str | None = None
    country: Annotated[str | None, Field(pattern=r"^[A-Z]{2}$")] = None


class LineItem(Part):
    sku: str
    quantity: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    name: str | None = None
    unit_price: Decimal | None = None
    subscription_id: str | None = None


class Order(Part):
    """An order is placed and paid; `sent_at` (ms) is for the latencies."""

    order_id: str
    total: Decimal
    currency: Annotated[str | None, Field(pattern=r"^[A-Z]{3}$")] = None
    account_id: str | None = None
    email: str | None = None
    items: list[LineItem] | None = None
    subtotal: Decimal | None = None
    tax: Decimal | None = None
    shipping_cost: Decimal | None = None
    discount: Decimal | None = None
    coupon_codes: list[str] | None = None
    shipping_address: Address | None = None
    billing_address: Address | None = None
    payment_id: str | None = None
    subscription_id: str | None = None
    placed_at: datetime | None = None
    sent_at: float
