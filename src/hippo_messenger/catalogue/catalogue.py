"""Everything that may be said between services: which services, which event types, and the model of each."""

from __future__ import annotations

import importlib
import os
import re
import sys
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

from hippo_messenger.address import Address
from hippo_messenger.catalogue.model import EventData, EventType, Service
from hippo_messenger.errors import CatalogueError, UnknownEventTypeError, UnknownServiceError
from hippo_messenger.log import log

__all__ = ["RESERVED_NAMES", "Catalogue", "DeprecationNotices"]

_SHIPPED = "hippo_messenger.catalogue.golden_hippo:CATALOGUE"
_VARIABLE = "HIPPO_CATALOGUE"

_SERVICE = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_EVENT_TYPE = re.compile(r"[A-Z][A-Z0-9_]{0,127}")
RESERVED_NAMES = frozenset(
    {"broker", "discarded", "layout", "presence", "redrive", "registry", "rejected", "seen", "senders"}
)
"""What no service may be called: keys of ours begin so."""


class Catalogue:
    """Services, event types and their models; immutable."""

    def __init__(
        self,
        *,
        services: type[Service],
        events: type[EventType],
        models: Iterable[type[EventData]],
        name: str = "catalogue",
        version: str = "1.0",
    ) -> None:
        """Put a catalogue together.

        Raises:
            CatalogueError: Something is declared twice, not at all, or under a name that can't be used.
        """
        self.name = name
        self.version = version
        self._services = services
        self._events = events
        self._models = _by_type(events, list(models))
        self._services_by_name = {service.value: service for service in services}
        self._events_by_name = {event_type.value: event_type for event_type in events}
        for service in services:
            if not _SERVICE.fullmatch(service.value) or service.value in RESERVED_NAMES:
                raise CatalogueError(
                    f"{services.__name__}.{service.name}: expected a wire name of up to 64 lower-case letters, digits, "
                    f"'-' or '_' that is not reserved ({', '.join(sorted(RESERVED_NAMES))}), got {service.value!r}"
                )

    @property
    def services(self) -> tuple[Service, ...]:
        """Every service, as declared."""
        return tuple(self._services)

    @property
    def event_types(self) -> tuple[EventType, ...]:
        """Every event type, as declared."""
        return tuple(self._events)

    def __contains__(self, event_type: object) -> bool:
        return isinstance(event_type, self._events)

    def model(self, event_type: EventType) -> type[EventData]:
        """The model of an event type's data.

        Raises:
            UnknownEventTypeError: The type is of another catalogue.
        """
        return self._models[self.require_event_type(event_type)]

    def service(self, name: str) -> Service:
        """The service with this wire name.

        Raises:
            UnknownServiceError: There is none; the message names close ones.
        """
        try:
            return self._services_by_name[name]
        except KeyError:
            raise UnknownServiceError(name, (service.value for service in self._services)) from None

    def event_type(self, name: str) -> EventType:
        """The event type with this wire name.

        Raises:
            UnknownEventTypeError: There is none; the message names close ones.
        """
        try:
            return self._events_by_name[name]
        except KeyError:
            raise UnknownEventTypeError(name, (event_type.value for event_type in self._events)) from None

    def require_service(self, value: object) -> Service:
        """The value itself, if it is a member of this catalogue's service enum; a plain string is not.

        Raises:
            UnknownServiceError: It is not.
        """
        if isinstance(value, self._services):
            return value
        raise UnknownServiceError(
            str(value), (f"{self._services.__name__}.{service.name}" for service in self._services)
        )

    def require_event_type(self, value: object) -> EventType:
        """The value itself, if it is a member of this catalogue's event enum; a plain string is not.

        Raises:
            UnknownEventTypeError: It is not.
        """
        if isinstance(value, self._events):
            return value
        raise UnknownEventTypeError(str(value), (f"{self._events.__name__}.{member.name}" for member in self._events))

    @classmethod
    def load(cls, address: str, *, search_path: Path | None = None) -> Catalogue:
        """The catalogue at `module:attribute`.

        Args:
            address: Where it is, such as `shop.events:CATALOGUE`.
            search_path: A folder to look for the module in, before the usual ones.

        Raises:
            CatalogueError: There is none.
        """
        try:
            where = Address.of(address, form='a catalogue as "module:attribute"')
        except ValueError as error:
            raise CatalogueError(str(error)) from None
        if search_path is not None and str(search_path) not in sys.path:
            sys.path.insert(0, str(search_path))
        try:
            module = importlib.import_module(where.module)
        except ImportError as error:
            raise CatalogueError(f"the catalogue {address!r} can't be loaded: {error}") from error
        try:
            found = getattr(module, where.attribute)
        except AttributeError:
            raise CatalogueError(
                f"expected an attribute {where.attribute!r} in {where.module}, there is none"
            ) from None
        if not isinstance(found, cls):
            raise CatalogueError(f"expected a Catalogue at {address!r}, got {type(found).__name__}")
        return found

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str] | None = None, *, search_path: Path | None = None
    ) -> Catalogue:
        """The catalogue that `HIPPO_CATALOGUE` names, else Golden Hippo's; see `load`."""
        variables = os.environ if environ is None else environ
        return cls.load(variables.get(_VARIABLE) or _SHIPPED, search_path=search_path)


class DeprecationNotices:
    """Warns of deprecated events, of each once: in the log, and as a DeprecationWarning for those who test with it."""

    def __init__(self) -> None:
        self._warned: set[EventType] = set()

    def warn(self, model: type[EventData]) -> None:
        """Warn if this event is deprecated and nobody was warned yet; the warning names its replacement."""
        if model.deprecation is None or model.event_type in self._warned:
            return
        self._warned.add(model.event_type)
        instead = model.deprecation.replaced_by
        remedy = f"; send {type(instead).__name__}.{instead.name} instead" if instead is not None else ""
        message = f"{model.event_type} is deprecated: {model.deprecation.reason}{remedy}"
        log.warning(message)
        warnings.warn(message, DeprecationWarning, stacklevel=2)


def _by_type(events: type[EventType], models: list[type[EventData]]) -> dict[EventType, type[EventData]]:
    by_type: dict[EventType, type[EventData]] = {}
    for model in models:
        event_type = getattr(model, "event_type", None)
        if not isinstance(event_type, events):
            raise CatalogueError(
                f"{model.__name__}: expected event_type to be a member of {events.__name__}, got {event_type!r}"
            )
        if event_type in by_type:
            raise CatalogueError(
                f"{event_type}: expected one model, got {by_type[event_type].__name__} and {model.__name__}"
            )
        if model.model_config.get("extra") == "forbid":
            raise CatalogueError(f"{model.__name__}: expected unknown fields to be kept, but it forbids them")
        by_type[event_type] = model
    for event_type in events:
        if not _EVENT_TYPE.fullmatch(event_type.value):
            raise CatalogueError(f"expected an event type of capital letters, digits and '_', got {event_type.value!r}")
        if event_type not in by_type:
            raise CatalogueError(f"{event_type}: expected a model, there is none")
    for model in by_type.values():
        replacement = model.deprecation.replaced_by if model.deprecation else None
        if replacement is not None and replacement not in by_type:
            raise CatalogueError(f"{model.__name__}: its replacement {replacement!r} is not in the catalogue")
    return by_type
