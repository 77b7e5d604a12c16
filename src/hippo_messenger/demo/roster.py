"""Who takes part in the demo: its processes, what each listens to, and who fails at times."""

from __future__ import annotations

from dataclasses import dataclass

from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService
from hippo_messenger.retry import RetryPolicy

__all__ = ["RETRY", "ROSTER", "Member"]

RETRY = RetryPolicy(attempts=3, delay=0.2)
"""Patient enough to be seen in the figures, short enough for a demo."""


@dataclass(frozen=True, slots=True)
class Member:
    """One process of the demo."""

    name: str
    speaks_for: tuple[HippoService, ...]
    """The services whose lines of the feed it sends; it works for the first."""
    listens_to: frozenset[HippoEvent] = frozenset()
    works: bool = True
    fails_at_times: bool = False

    @property
    def service(self) -> HippoService:
        """The service that it works for."""
        return self.speaks_for[0]


_SHIPPING = frozenset(
    {
        HippoEvent.ACCOUNT_UPDATED,
        HippoEvent.ORDER_CANCELLED,
        HippoEvent.ORDER_SUCCESS,
        HippoEvent.SUBSCRIPTION_CREATED,
    }
)
_ACCOUNT = frozenset(
    {
        HippoEvent.ORDER_REFUNDED,
        HippoEvent.ORDER_SUCCESS,
        HippoEvent.PAYMENT_FAILED,
        HippoEvent.SUBSCRIPTION_CANCELLED,
        HippoEvent.SUBSCRIPTION_CREATED,
    }
)
_ORDER = frozenset(
    {
        HippoEvent.CONFIG_CHANGE,
        HippoEvent.INVENTORY_LOW,
        HippoEvent.ORDER_SHIPPED,
        HippoEvent.PAYMENT_FAILED,
        HippoEvent.PAYMENT_SUCCEEDED,
        HippoEvent.SHIPMENT_DELIVERED,
        HippoEvent.SHIPMENT_RETURNED,
    }
)
_NOTIFICATION = frozenset(
    {
        HippoEvent.ACCOUNT_CLOSED,
        HippoEvent.ACCOUNT_REGISTERED,
        HippoEvent.CONFIG_CHANGE,
        HippoEvent.ORDER_CANCELLED,
        HippoEvent.ORDER_FAILED,
        HippoEvent.ORDER_REFUNDED,
        HippoEvent.ORDER_SHIPPED,
        HippoEvent.ORDER_SUCCESS,
        HippoEvent.PAYMENT_FAILED,
        HippoEvent.SHIPMENT_DELIVERED,
        HippoEvent.SUBSCRIPTION_CANCELLED,
        HippoEvent.SUBSCRIPTION_CREATED,
        HippoEvent.SUBSCRIPTION_RENEWAL_FAILED,
    }
)

ROSTER = (
    Member("order", (HippoService.ORDER,), _ORDER),
    Member("account", (HippoService.ACCOUNT,), _ACCOUNT),
    Member("account-canary", (HippoService.ACCOUNT,), _ACCOUNT, works=False),
    Member("shipping-1", (HippoService.SHIPPING,), _SHIPPING, fails_at_times=True),
    Member("shipping-2", (HippoService.SHIPPING,), _SHIPPING, fails_at_times=True),
    Member("notification", (HippoService.NOTIFICATION,), _NOTIFICATION),
    Member("senders", (HippoService.BILLING, HippoService.CONFIG, HippoService.INVENTORY), works=False),
)
"""Of several that speak for one service the first sends its lines."""
