"""Who takes part in the demo: its processes, what each listens to, and who fails at times."""

from __future__ import annotations

from dataclasses import dataclass

from hippo_messenger.catalogue.catalogue import Catalogue
from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService
from hippo_messenger.errors import CatalogueError
from hippo_messenger.retry import RetryPolicy

__all__ = ["RETRY", "ROSTER", "Member", "require_all"]

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


def require_all(catalogue: Catalogue) -> None:
    """Make sure that everybody of the roster is in a catalogue, with all that they listen to.

    Raises:
        CatalogueError: Somebody or something is not; the message names all of them.
    """
    services = {service.value for member in ROSTER for service in member.speaks_for}
    events = {event_type.value for member in ROSTER for event_type in member.listens_to}
    lacking = [
        f"{what} {', '.join(sorted(wanted - known))}"
        for what, wanted, known in (
            ("the services", services, {service.value for service in catalogue.services}),
            ("the event types", events, {event_type.value for event_type in catalogue.event_types}),
        )
        if wanted - known
    ]
    if lacking:
        raise CatalogueError(
            f"expected a catalogue with all that the demo's services say, as Golden Hippo's has it, but "
            f"{catalogue.name!r} lacks {' and '.join(lacking)}; leave --catalogue out to see the shipped one's demo"
        )
