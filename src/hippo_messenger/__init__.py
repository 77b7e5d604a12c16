"""Typed events between services, over the Redis they already run: the public names, all of them."""

from __future__ import annotations

from hippo_messenger.backlog import (
    BacklogLimit,
)
from hippo_messenger.broker import (
    HippoBroker,
)
from hippo_messenger.catalogue.catalogue import (
    Catalogue,
)
from hippo_messenger.catalogue.golden_hippo import (
    AccountClosed,
    AccountRegistered,
    AccountUpdated,
    Address,
    ConfigChange,
    HippoEvent,
    HippoService,
    InventoryLow,
    LineItem,
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
)
from hippo_messenger.catalogue.model import (
    EventData,
    EventPart,
    EventType,
    Secret,
    Service,
)
from hippo_messenger.clash import (
    Clash,
    Side,
)
from hippo_messenger.errors import (
    CatalogueError,
    ConfigurationError,
    ConnectionNotConfiguredError,
    DeadLetter,
    DeadLetterError,
    Discard,
    EmbeddedServerError,
    EventError,
    EventIdInUseError,
    EventTooLargeError,
    EventValidationError,
    FieldError,
    HippoError,
    InvalidEnvelopeError,
    InvalidEventIdError,
    InvalidNameError,
    InvalidRegistrationError,
    LayoutTooNewError,
    MessengerClosedError,
    NotSentError,
    PossiblySentError,
    ProcessingError,
    ProcessorTimeoutError,
    QueueCorruptedError,
    RedisAuthenticationError,
    RedisCommandError,
    RedisError,
    RedisEvictsError,
    RedisLoadingError,
    RedisOutOfMemoryError,
    RedisPermissionError,
    RedisReadOnlyError,
    RedisTimeoutError,
    RedisTooOldError,
    RedisUnavailableError,
    RedriveUnderWayError,
    RegistrationError,
    RegistrationTimeoutError,
    SendError,
    ServiceFullError,
    UnknownDeadLetterError,
    UnknownEventTypeError,
    UnknownServiceError,
)
from hippo_messenger.expiry import (
    Expiry,
)
from hippo_messenger.health import (
    Health,
)
from hippo_messenger.job import (
    HippoJob,
    JobChannel,
)
from hippo_messenger.limits import (
    RateLimit,
    WorkLimits,
)
from hippo_messenger.messenger import (
    HippoMessenger,
)
from hippo_messenger.observer import (
    Observer,
)
from hippo_messenger.processing import (
    Processor,
)
from hippo_messenger.queues.connection import (
    RedisSource,
)
from hippo_messenger.queues.embedded import (
    EmbeddedServer,
)
from hippo_messenger.queues.removal import (
    JobsOfRemoved,
    Removed,
)
from hippo_messenger.retry import (
    RetryPolicy,
)
from hippo_messenger.settings import (
    Settings,
)
from hippo_messenger.worker import (
    HippoWorker,
)

__all__ = [
    "AccountClosed",
    "AccountRegistered",
    "AccountUpdated",
    "Address",
    "BacklogLimit",
    "Catalogue",
    "CatalogueError",
    "Clash",
    "ConfigChange",
    "ConfigurationError",
    "ConnectionNotConfiguredError",
    "DeadLetter",
    "DeadLetterError",
    "Discard",
    "EmbeddedServer",
    "EmbeddedServerError",
    "EventData",
    "EventError",
    "EventIdInUseError",
    "EventPart",
    "EventTooLargeError",
    "EventType",
    "EventValidationError",
    "Expiry",
    "FieldError",
    "Health",
    "HippoBroker",
    "HippoError",
    "HippoEvent",
    "HippoJob",
    "HippoMessenger",
    "HippoService",
    "HippoWorker",
    "InvalidEnvelopeError",
    "InvalidEventIdError",
    "InvalidNameError",
    "InvalidRegistrationError",
    "InventoryLow",
    "JobChannel",
    "JobsOfRemoved",
    "LayoutTooNewError",
    "LineItem",
    "MessengerClosedError",
    "NotSentError",
    "NotificationFailed",
    "NotificationSent",
    "Observer",
    "OrderCancelled",
    "OrderFailed",
    "OrderPlaced",
    "OrderRefunded",
    "OrderShipped",
    "OrderSuccess",
    "PaymentFailed",
    "PaymentSucceeded",
    "PossiblySentError",
    "ProcessingError",
    "Processor",
    "ProcessorTimeoutError",
    "QueueCorruptedError",
    "RateLimit",
    "RedisAuthenticationError",
    "RedisCommandError",
    "RedisError",
    "RedisEvictsError",
    "RedisLoadingError",
    "RedisOutOfMemoryError",
    "RedisPermissionError",
    "RedisReadOnlyError",
    "RedisSource",
    "RedisTimeoutError",
    "RedisTooOldError",
    "RedisUnavailableError",
    "RedriveUnderWayError",
    "RegistrationError",
    "RegistrationTimeoutError",
    "Removed",
    "RetryPolicy",
    "Secret",
    "SendError",
    "Service",
    "ServiceFullError",
    "Settings",
    "ShipmentDelivered",
    "ShipmentReturned",
    "Side",
    "SubscriptionCancelled",
    "SubscriptionCreated",
    "SubscriptionPaused",
    "SubscriptionRenewalFailed",
    "SubscriptionRenewed",
    "UnknownDeadLetterError",
    "UnknownEventTypeError",
    "UnknownServiceError",
    "WorkLimits",
]
