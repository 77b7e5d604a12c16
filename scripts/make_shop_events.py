"""Makes the feed of `hippo demo`: some thousand events of a shop, the same at every run.

    python scripts/make_shop_events.py > src/hippo_messenger/demo/shop_events.ndjson

Customers open accounts, buy once or by subscription, pay or fail to, get their parcels, send some back. Some lines are
wrong on purpose, as a real system's are; some are there twice under the same id, as after a lost reply.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

Event = dict[str, Any]

CUSTOMERS = 330
WRONG, TWICE = 0.012, 0.01
NAMES = ("Ada", "Grace", "Linus", "Barbara", "Edsger", "Radia", "Søren", "Zoë", "José", "雅美", "Łukasz", "नेहा")
CITIES = (("Portland", "OR", "US"), ("Berlin", None, "DE"), ("Lyon", None, "FR"), ("São Paulo", "SP", "BR"))
PRODUCTS = (("HIP-001", "Hippo mug", "14.50"), ("HIP-002", "River tea", "9.90"), ("HIP-003", "Mud mask", "24.00"))
REASONS = ("too small", "changed my mind", "arrived late", "found it cheaper")


class Shop:
    """What happens at a shop, customer by customer."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._now = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
        self._number = 0

    def events(self) -> Iterator[Event]:
        """Everything that happens, in order."""
        yield self._event("config", "CONFIG_CHANGE", key="checkout.free_shipping_from", value="50.00")
        for customer in range(1, CUSTOMERS + 1):
            yield from self._customer(f"C-{customer:05d}")
            if customer % 60 == 0:
                yield self._event("inventory", "INVENTORY_LOW", sku=self._chance.choice(PRODUCTS)[0], quantity=3)

    def _customer(self, account: str) -> Iterator[Event]:
        chance, name = self._chance, self._chance.choice(NAMES)
        email = f"{account.lower()}@example.com"
        yield self._event("account", "ACCOUNT_REGISTERED", accountId=account, email=email, firstName=name)
        for _ in range(chance.choice((0, 1, 1, 1, 2, 3))):
            yield from self._order(account, email)
        if chance.random() < 0.35:
            yield from self._subscription(account, email)
        if chance.random() < 0.2:
            yield self._event(
                "account", "ACCOUNT_UPDATED", accountId=account, changedFields=["phone"], phone="555-0100"
            )
        if chance.random() < 0.02:
            yield self._event("account", "ACCOUNT_CLOSED", accountId=account, reason="moved on")

    def _order(self, account: str, email: str, subscription: str | None = None) -> Iterator[Event]:
        chance, order = self._chance, f"O-{self._next():06d}"
        items: list[Event] = [
            {"sku": sku, "name": name, "quantity": chance.randint(1, 4), "unitPrice": price}
            for sku, name, price in chance.sample(PRODUCTS, chance.randint(1, 3))
        ]
        total = str(sum(Decimal(item["unitPrice"]) * item["quantity"] for item in items))
        if chance.random() < 0.06:
            yield self._event("billing", "PAYMENT_FAILED", paymentId=f"P-{order}", orderId=order, accountId=account)
            yield self._event("order", "ORDER_FAILED", orderId=order, accountId=account, reason="payment declined")
            return
        city, region, country = chance.choice(CITIES)
        address = {"line1": f"{chance.randint(1, 99)} Main St", "city": city, "country": country}
        yield self._event("billing", "PAYMENT_SUCCEEDED", paymentId=f"P-{order}", orderId=order, amount=total)
        yield self._event(
            "order",
            "ORDER_SUCCESS",
            orderId=order,
            total=total,
            currency="USD",
            accountId=account,
            email=email,
            items=items,
            shippingAddress=address | ({"region": region} if region else {}),
            **({"subscriptionId": subscription} if subscription else {}),
        )
        if chance.random() < 0.05:
            yield self._event(
                "order", "ORDER_CANCELLED", orderId=order, accountId=account, reason=chance.choice(REASONS)
            )
            return
        yield self._event("shipping", "ORDER_SHIPPED", orderId=order, accountId=account, trackingNumber=f"T{order}")
        if chance.random() < 0.8:
            yield self._event("shipping", "SHIPMENT_DELIVERED", shipmentId=f"S-{order}", orderId=order)
        if chance.random() < 0.07:
            yield self._event("shipping", "SHIPMENT_RETURNED", shipmentId=f"S-{order}", orderId=order)
            yield self._event("order", "ORDER_REFUNDED", orderId=order, amount=total, reason=chance.choice(REASONS))

    def _subscription(self, account: str, email: str) -> Iterator[Event]:
        chance, subscription = self._chance, f"SUB-{self._next():05d}"
        yield self._event("order", "SUBSCRIPTION_CREATED", subscriptionId=subscription, accountId=account)
        for _ in range(chance.randint(0, 3)):
            if chance.random() < 0.1:
                yield self._event(
                    "order", "SUBSCRIPTION_RENEWAL_FAILED", subscriptionId=subscription, accountId=account
                )
                continue
            yield self._event("order", "SUBSCRIPTION_RENEWED", subscriptionId=subscription, accountId=account)
            yield from self._order(account, email, subscription)
        if chance.random() < 0.15:
            yield self._event("order", "SUBSCRIPTION_CANCELLED", subscriptionId=subscription, accountId=account)

    def _event(self, service: str, event_type: str, **data: Any) -> Event:
        self._now += timedelta(seconds=self._chance.expovariate(1 / 40))
        return {"from": service, "type": event_type, "id": self._id(), "data": data}

    def _id(self) -> str:
        return str(UUID(int=self._chance.getrandbits(128), version=4))

    def _next(self) -> int:
        self._number += 1
        return self._number


def spoiled(event: Event, chance: random.Random) -> Event:
    """The same event with a mistake that somebody might make."""
    data = dict(event["data"])
    field = next(iter(data))
    kind = chance.randrange(3)
    if kind == 0:
        del data[field]
    elif kind == 1:
        data[field] = None
    else:
        data[field] = {"value": data[field]}
    return event | {"data": data}


def main() -> None:
    """Write the feed to stdout."""
    chance = random.Random(7)
    for event in Shop(seed=2026).events():
        wrong = chance.random() < WRONG
        lines = [spoiled(event, chance) if wrong else event]
        if not wrong and chance.random() < TWICE:
            lines.append(event)
        for line in lines:
            sys.stdout.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
