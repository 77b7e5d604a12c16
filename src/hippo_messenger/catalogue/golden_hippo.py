"""Golden Hippo's catalogue: a shop with accounts, one-off orders and subscriptions.

Money is a decimal string with its currency beside it; times have a zone. A field is required only where nothing makes
sense without it; the others save the receiver from asking back.
"""

from __future__ import annotations

from decimal import Decimal
from enum import auto
from typing import Annotated

from pydantic import AwareDatetime, Field

from hippo_messenger.catalogue.catalogue import Catalogue
from hippo_messenger.catalogue.model import EventData, EventPart, EventType, Secret, Service

__all__ = [
    "CATALOGUE",
    "AccountClosed",
    "AccountRegistered",
    "AccountUpdated",
    "Address",
    "ConfigChange",
    "HippoEvent",
    "HippoService",
    "InventoryLow",
    "LineItem",
    "NotificationFailed",
    "NotificationSent",
    "OrderCancelled",
    "OrderFailed",
    "OrderPlaced",
    "OrderRefunded",
    "OrderShipped",
    "OrderSuccess",
    "PaymentFailed",
    "PaymentSucceeded",
    "ShipmentDelivered",
    "ShipmentReturned",
    "SubscriptionCancelled",
    "SubscriptionCreated",
    "SubscriptionPaused",
    "SubscriptionRenewalFailed",
    "SubscriptionRenewed",
]


class HippoService(Service):
    """The services of Golden Hippo."""

    ACCOUNT = auto()
    BILLING = auto()
    CONFIG = auto()
    INVENTORY = auto()
    NOTIFICATION = auto()
    ORDER = auto()
    SHIPPING = auto()
    SUBSCRIPTION = auto()


class HippoEvent(EventType):
    """What can happen at Golden Hippo."""

    ACCOUNT_CLOSED = auto()
    ACCOUNT_REGISTERED = auto()
    ACCOUNT_UPDATED = auto()
    CONFIG_CHANGE = auto()
    INVENTORY_LOW = auto()
    NOTIFICATION_FAILED = auto()
    NOTIFICATION_SENT = auto()
    ORDER_CANCELLED = auto()
    ORDER_FAILED = auto()
    ORDER_PLACED = auto()
    ORDER_REFUNDED = auto()
    ORDER_SHIPPED = auto()
    ORDER_SUCCESS = auto()
    PAYMENT_FAILED = auto()
    PAYMENT_SUCCEEDED = auto()
    SHIPMENT_DELIVERED = auto()
    SHIPMENT_RETURNED = auto()
    SUBSCRIPTION_CANCELLED = auto()
    SUBSCRIPTION_CREATED = auto()
    SUBSCRIPTION_PAUSED = auto()
    SUBSCRIPTION_RENEWAL_FAILED = auto()
    SUBSCRIPTION_RENEWED = auto()


Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
"""ISO 4217, such as USD."""
Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$")]
"""ISO 3166-1 alpha-2, such as US."""
Quantity = Annotated[int, Field(ge=1, le=1_000_000)]
Count = Annotated[int, Field(ge=0, le=1_000_000_000)]


class Address(EventPart):
    """Where something goes, or who pays."""

    name: str | None = None
    line1: str | None = None
    line2: str | None = None
    city: str | None = None
    region: str | None = None
    postal_code: str | None = None
    country: Country | None = None


class LineItem(EventPart):
    """One product in an order or a parcel."""

    sku: str
    quantity: Quantity = 1
    name: str | None = None
    unit_price: Decimal | None = None
    subscription_id: str | None = None


class AccountRegistered(EventData, event_type=HippoEvent.ACCOUNT_REGISTERED, since="1.0"):
    """Somebody has opened an account."""

    account_id: str
    email: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    phone: str | None = None
    country: Country | None = None
    locale: str | None = None
    marketing_consent: bool | None = None
    registered_at: AwareDatetime | None = None
    verification_token: Annotated[str | None, Secret()] = None


class AccountUpdated(EventData, event_type=HippoEvent.ACCOUNT_UPDATED, since="1.0"):
    """Something about an account has changed; only what changed is filled."""

    account_id: str
    changed_fields: list[str] | None = None
    email: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    phone: str | None = None
    locale: str | None = None
    marketing_consent: bool | None = None
    default_address: Address | None = None
    updated_at: AwareDatetime | None = None


class AccountClosed(EventData, event_type=HippoEvent.ACCOUNT_CLOSED, since="1.0"):
    """An account is closed: forget what need not be kept."""

    account_id: str
    reason: str | None = None
    erase_personal_data: bool = False
    closed_at: AwareDatetime | None = None


class ConfigChange(EventData, event_type=HippoEvent.CONFIG_CHANGE, since="1.0"):
    """A setting that services share has a new value, or is gone."""

    key: str
    value: str | int | float | bool | dict[str, object] | list[object] | None = None
    previous_value: str | int | float | bool | dict[str, object] | list[object] | None = None
    environment: str | None = None
    changed_by: str | None = None
    changed_at: AwareDatetime | None = None


class OrderSuccess(EventData, event_type=HippoEvent.ORDER_SUCCESS, since="1.0"):
    """An order is placed and paid."""

    order_id: str
    total: Decimal
    currency: Currency | None = None
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
    placed_at: AwareDatetime | None = None


class OrderPlaced(
    EventData,
    event_type=HippoEvent.ORDER_PLACED,
    since="1.0",
    deprecated="an order counts once it is paid",
    replaced_by=HippoEvent.ORDER_SUCCESS,
):
    """An order is placed, whether paid or not."""

    order_id: str
    total: Decimal | None = None
    currency: Currency | None = None
    account_id: str | None = None


class OrderFailed(EventData, event_type=HippoEvent.ORDER_FAILED, since="1.0"):
    """An order could not be completed."""

    order_id: str
    reason: str | None = None
    code: str | None = None
    account_id: str | None = None
    email: str | None = None
    total: Decimal | None = None
    currency: Currency | None = None
    items: list[LineItem] | None = None
    retryable: bool | None = None
    failed_at: AwareDatetime | None = None


class OrderCancelled(EventData, event_type=HippoEvent.ORDER_CANCELLED, since="1.0"):
    """An order will not be shipped."""

    order_id: str
    reason: str | None = None
    cancelled_by: str | None = None
    account_id: str | None = None
    email: str | None = None
    items: list[LineItem] | None = None
    refund_due: Decimal | None = None
    currency: Currency | None = None
    cancelled_at: AwareDatetime | None = None


class OrderRefunded(EventData, event_type=HippoEvent.ORDER_REFUNDED, since="1.0"):
    """Money went back for an order, all of it or a part."""

    order_id: str
    amount: Decimal
    refund_id: str | None = None
    currency: Currency | None = None
    account_id: str | None = None
    email: str | None = None
    items: list[LineItem] | None = None
    reason: str | None = None
    is_partial: bool | None = None
    refunded_at: AwareDatetime | None = None


class OrderShipped(EventData, event_type=HippoEvent.ORDER_SHIPPED, since="1.0"):
    """A parcel of an order has left the warehouse."""

    order_id: str
    shipment_id: str | None = None
    account_id: str | None = None
    email: str | None = None
    carrier: str | None = None
    tracking_number: str | None = None
    tracking_url: str | None = None
    items: list[LineItem] | None = None
    shipping_address: Address | None = None
    is_last_parcel: bool | None = None
    shipped_at: AwareDatetime | None = None
    expected_at: AwareDatetime | None = None


class ShipmentDelivered(EventData, event_type=HippoEvent.SHIPMENT_DELIVERED, since="1.0"):
    """A parcel has arrived."""

    shipment_id: str
    order_id: str | None = None
    account_id: str | None = None
    carrier: str | None = None
    tracking_number: str | None = None
    delivered_at: AwareDatetime | None = None


class ShipmentReturned(EventData, event_type=HippoEvent.SHIPMENT_RETURNED, since="1.0"):
    """A parcel has come back."""

    shipment_id: str
    order_id: str | None = None
    account_id: str | None = None
    items: list[LineItem] | None = None
    reason: str | None = None
    returned_at: AwareDatetime | None = None


class PaymentSucceeded(EventData, event_type=HippoEvent.PAYMENT_SUCCEEDED, since="1.0"):
    """A charge went through."""

    payment_id: str
    amount: Decimal
    currency: Currency | None = None
    order_id: str | None = None
    subscription_id: str | None = None
    account_id: str | None = None
    method: str | None = None
    card_last4: Annotated[str | None, Secret()] = None
    paid_at: AwareDatetime | None = None


class PaymentFailed(EventData, event_type=HippoEvent.PAYMENT_FAILED, since="1.0"):
    """A charge was declined or broke off."""

    payment_id: str
    amount: Decimal | None = None
    currency: Currency | None = None
    order_id: str | None = None
    subscription_id: str | None = None
    account_id: str | None = None
    email: str | None = None
    code: str | None = None
    reason: str | None = None
    attempt: Count | None = None
    next_attempt_at: AwareDatetime | None = None
    failed_at: AwareDatetime | None = None


class SubscriptionCreated(EventData, event_type=HippoEvent.SUBSCRIPTION_CREATED, since="1.0"):
    """Somebody has subscribed."""

    subscription_id: str
    account_id: str | None = None
    email: str | None = None
    order_id: str | None = None
    items: list[LineItem] | None = None
    interval_days: Quantity | None = None
    price: Decimal | None = None
    currency: Currency | None = None
    next_renewal_at: AwareDatetime | None = None
    created_at: AwareDatetime | None = None


class SubscriptionRenewed(EventData, event_type=HippoEvent.SUBSCRIPTION_RENEWED, since="1.0"):
    """A subscription is paid for another interval."""

    subscription_id: str
    order_id: str | None = None
    account_id: str | None = None
    email: str | None = None
    amount: Decimal | None = None
    currency: Currency | None = None
    renewal_count: Count | None = None
    next_renewal_at: AwareDatetime | None = None
    renewed_at: AwareDatetime | None = None


class SubscriptionRenewalFailed(EventData, event_type=HippoEvent.SUBSCRIPTION_RENEWAL_FAILED, since="1.0"):
    """A subscription could not be renewed this time."""

    subscription_id: str
    account_id: str | None = None
    email: str | None = None
    payment_id: str | None = None
    reason: str | None = None
    attempt: Count | None = None
    next_attempt_at: AwareDatetime | None = None
    failed_at: AwareDatetime | None = None


class SubscriptionPaused(EventData, event_type=HippoEvent.SUBSCRIPTION_PAUSED, since="1.0"):
    """A subscription rests, until a day or until further notice."""

    subscription_id: str
    account_id: str | None = None
    reason: str | None = None
    resumes_at: AwareDatetime | None = None
    paused_at: AwareDatetime | None = None


class SubscriptionCancelled(EventData, event_type=HippoEvent.SUBSCRIPTION_CANCELLED, since="1.0"):
    """A subscription will not be renewed again."""

    subscription_id: str
    account_id: str | None = None
    email: str | None = None
    reason: str | None = None
    cancelled_by: str | None = None
    ends_at: AwareDatetime | None = None
    cancelled_at: AwareDatetime | None = None


class InventoryLow(EventData, event_type=HippoEvent.INVENTORY_LOW, since="1.0"):
    """A product is about to run out."""

    sku: str
    quantity: Count
    threshold: Count | None = None
    warehouse: str | None = None
    expected_restock_at: AwareDatetime | None = None


class NotificationSent(EventData, event_type=HippoEvent.NOTIFICATION_SENT, since="1.0"):
    """A message went out to a customer."""

    notification_id: str
    account_id: str | None = None
    channel: str | None = None
    template: str | None = None
    sent_at: AwareDatetime | None = None


class NotificationFailed(EventData, event_type=HippoEvent.NOTIFICATION_FAILED, since="1.0"):
    """A message could not be brought to a customer."""

    notification_id: str
    account_id: str | None = None
    channel: str | None = None
    template: str | None = None
    reason: str | None = None
    failed_at: AwareDatetime | None = None


CATALOGUE = Catalogue(
    name="golden-hippo",
    version="1.0",
    services=HippoService,
    events=HippoEvent,
    models=[
        AccountClosed,
        AccountRegistered,
        AccountUpdated,
        ConfigChange,
        InventoryLow,
        NotificationFailed,
        NotificationSent,
        OrderCancelled,
        OrderFailed,
        OrderPlaced,
        OrderRefunded,
        OrderShipped,
        OrderSuccess,
        PaymentFailed,
        PaymentSucceeded,
        ShipmentDelivered,
        ShipmentReturned,
        SubscriptionCancelled,
        SubscriptionCreated,
        SubscriptionPaused,
        SubscriptionRenewalFailed,
        SubscriptionRenewed,
    ],
)
