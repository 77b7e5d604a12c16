"""How a company declares what may be said: services, event types, and one model for the data of each type."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Any, ClassVar, TypeVar, Unpack, get_args, get_origin

from pydantic import BaseModel, ConfigDict, RootModel, ValidationError
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticSerializationError, from_json

from hippo_messenger.catalogue.numbers import may_be_unsafe
from hippo_messenger.errors import CatalogueError, EventValidationError, FieldError

__all__ = [
    "Deprecation",
    "EventData",
    "EventPart",
    "EventType",
    "Secret",
    "Service",
    "masked",
    "read_data",
    "read_data_json",
    "to_wire",
]

MASK = "***"
_LARGEST_SAFE_INTEGER = 2**53 - 1
_SHOWN_LENGTH = 60
_LONGEST_PATH = 200
_MODELS_KEPT = 4096
_MOST_FAULTS = 10_000
"""So many fields are named in an error; listing millions would take seconds and gigabytes."""


class Service(StrEnum):
    """The base of a company's services; `auto()` makes the member's name in lower case the wire name."""


class EventType(StrEnum):
    """The base of a company's event types; `auto()` makes the member's own name the wire name."""

    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[str]) -> str:
        return name


@dataclass(frozen=True, slots=True)
class Secret:
    """Marks a field that is never shown: `email: Annotated[str, Secret()]`.

    Within a union, a list or the like it marks the whole field. Fields of dataclasses and typed dicts can't be marked.
    """


@dataclass(frozen=True, slots=True)
class Deprecation:
    """Why an event is not to be sent any more."""

    reason: str
    replaced_by: EventType | None = None


class EventPart(BaseModel):
    """The base of objects inside an event's data, such as a line of an order.

    Wire names are camelCase, Python names snake_case; both are taken when constructing. Unknown fields are kept.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="allow",
        frozen=True,
        allow_inf_nan=False,
        ser_json_inf_nan="constants",
    )


class EventData(EventPart):
    """The base of one event type's data.

    Declared with its type, since when it exists, and if need be its deprecation; the first line of the docstring is its
    meaning:

        class OrderSuccess(EventData, event_type=HippoEvent.ORDER_SUCCESS, since="1.0"):
            "An order was placed and paid."
            order_id: str
    """

    event_type: ClassVar[EventType]
    meaning: ClassVar[str]
    since: ClassVar[str]
    deprecation: ClassVar[Deprecation | None] = None

    def __init_subclass__(
        cls,
        *,
        event_type: EventType | None = None,
        since: str | None = None,
        deprecated: str | None = None,
        replaced_by: EventType | None = None,
        **options: Unpack[ConfigDict],
    ) -> None:
        super().__init_subclass__(**options)
        if event_type is None:
            return
        if not isinstance(event_type, EventType):
            raise CatalogueError(
                f"{cls.__name__}: expected event_type to be a member of an EventType, got {event_type!r}"
            )
        meaning = (cls.__doc__ or "").strip().split("\n")[0]
        if not meaning:
            raise CatalogueError(f"{cls.__name__}: expected a docstring whose first line says what {event_type} means")
        if not since:
            raise CatalogueError(f"{cls.__name__}: expected since=, the catalogue version that brought {event_type}")
        cls.event_type, cls.meaning, cls.since = event_type, meaning, since
        cls.deprecation = Deprecation(deprecated, replaced_by) if deprecated else None


Data = TypeVar("Data", bound=EventData)


def to_wire(data: EventData) -> bytes:
    """The data as JSON with its wire names; fields that are None are left out, as JavaScript's validators want it.

    Raises:
        EventValidationError: A value in it has no JSON, or is a number that JavaScript can't hold: NaN, an infinity,
            or an integer beyond 2^53 - 1.
    """
    try:
        # Values of a wrong type are no warning here: who reads the result finds out.
        wire = data.model_dump_json(by_alias=True, exclude_none=True, warnings=False).encode()
    except PydanticSerializationError as error:
        raise EventValidationError(data.event_type, [FieldError("data", "what JSON can hold", str(error))]) from None
    if may_be_unsafe(wire) and (unsafe := list(_unsafe_numbers(from_json(wire), ()))):
        raise EventValidationError(data.event_type, (_unsafe_field(type(data), *found) for found in unsafe))
    return wire


def read_data(model: type[Data], value: object) -> Data:
    """Parsed JSON, or a mapping by either kind of names, as a model.

    Raises:
        EventValidationError: It doesn't fit; every field that is wrong is named.
    """
    if not isinstance(value, Mapping):
        kind = "a string" if isinstance(value, str) else _shown(value)  # there may be a secret in it
        raise EventValidationError(model.event_type, [FieldError("data", "an object", kind)])
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise _explained(model, error) from None


def read_data_json(model: type[Data], raw: bytes) -> Data:
    """JSON as a model.

    Raises:
        EventValidationError: It doesn't fit, or is no JSON.
    """
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        raise _explained(model, error) from None


def masked(model: type[BaseModel] | None, value: object) -> object:
    """A copy of an event's data with everything masked that its model marks as secret."""
    if model is None or not isinstance(value, Mapping):
        return value
    shapes = _shapes(model)
    result: dict[str, object] = {}
    for name, inner in value.items():
        shape = shapes.get(str(name))
        result[str(name)] = inner if shape is None else _masked_inside(shape, inner)
    return result


@dataclass(frozen=True, slots=True)
class _Shape:
    """What masking has to know of one field."""

    is_secret: bool
    """It is marked, or anything is of which it may be made: then no part of it is shown."""
    models: tuple[type[BaseModel], ...]
    """What its values may be, at any depth."""
    has_mappings: bool

    @classmethod
    def of(cls, field: FieldInfo) -> _Shape:
        parts = (*field.metadata, *_parts_of(field.annotation))
        return cls(
            is_secret=any(part is Secret or isinstance(part, Secret) for part in parts),
            models=tuple(part for part in parts if isinstance(part, type) and issubclass(part, BaseModel)),
            has_mappings=any(
                isinstance(kind := get_origin(part), type) and issubclass(kind, Mapping) for part in parts
            ),
        )


@lru_cache(maxsize=_MODELS_KEPT)
def _shapes(model: type[BaseModel]) -> Mapping[str, _Shape]:
    """Every field by its wire name and its own; looking through annotations for each value would take too long."""
    model.model_rebuild(raise_errors=False)  # what a name in quotes means is known only then
    by_name = {name: _Shape.of(field) for name, field in model.model_fields.items()}
    return {field.alias or name: by_name[name] for name, field in model.model_fields.items()} | by_name


def _masked_inside(shape: _Shape, value: object) -> object:
    if shape.is_secret:
        return MASK
    if isinstance(value, BaseModel):
        inside, shapes = value.model_dump(by_alias=True), _shapes(type(value))
        return _masked_inside(shapes["root"], inside) if isinstance(value, RootModel) else masked(type(value), inside)
    if isinstance(value, list | tuple):
        return [_masked_inside(shape, inner) for inner in value]
    if not isinstance(value, Mapping):
        return value
    result: object = value
    for model in shape.models:
        result = masked(model, result)
    if shape.has_mappings and isinstance(result, Mapping):
        return {str(name): _masked_inside(shape, inner) for name, inner in result.items()}
    return result


def _parts_of(annotation: object, named: frozenset[int] = frozenset()) -> Iterator[object]:
    """An annotation and all that stands in it, marks too; a name for another one is followed, but not in a circle."""
    yield annotation
    inner: tuple[object, ...] = get_args(annotation)
    name = get_origin(annotation) or annotation
    if id(name) not in named:
        if isinstance(name, type) and issubclass(name, RootModel):
            root = name.model_fields["root"]
            inner = (*inner, root.annotation, *root.metadata)
        else:  # a TypeAliasType has a value; `typing` and `typing_extensions` have one each
            inner = (*inner, getattr(name, "__value__", None))
        named |= {id(name)}
    for part in inner:
        yield from _parts_of(part, named)


def _unsafe_numbers(value: object, location: tuple[object, ...]) -> Iterator[tuple[tuple[object, ...], float]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _unsafe_numbers(inner, (*location, name))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _unsafe_numbers(inner, (*location, place))
    elif (isinstance(value, float) and not math.isfinite(value)) or (
        isinstance(value, int) and not isinstance(value, bool) and abs(value) > _LARGEST_SAFE_INTEGER
    ):
        yield location, value


def _unsafe_field(model: type[EventData], location: tuple[object, ...], value: float) -> FieldError:
    expected = "an integer within ±(2^53 - 1), which JavaScript can hold, or a string"
    return FieldError(
        _cut(".".join(str(part) for part in location), _LONGEST_PATH),
        "a finite number" if isinstance(value, float) else expected,
        MASK if _is_secret(model, location) else _shown(value),
    )


def _explained(model: type[EventData], error: ValidationError) -> EventValidationError:
    if error.error_count() > _MOST_FAULTS:
        many = FieldError("data", f"{error.error_count():,} of its fields don't fit, which are too many to name", "")
        return EventValidationError(model.event_type, [many])
    return EventValidationError(model.event_type, [_field_error(model, dict(found)) for found in error.errors()])


def _field_error(model: type[EventData], found: Mapping[str, Any]) -> FieldError:
    location = tuple(found["loc"])
    path = _cut(".".join(_wire_names(model, location)) or "data", _LONGEST_PATH)
    if found["type"] == "missing":
        return FieldError(path, "required", "")
    return FieldError(
        path, _cut(found["msg"], _LONGEST_PATH), MASK if _is_secret(model, location) else _shown(found["input"])
    )


def _wire_names(model: type[BaseModel], location: tuple[object, ...]) -> list[str]:
    names = [str(part) for part in location]
    if names and names[0] in model.model_fields:
        names[0] = model.model_fields[names[0]].alias or names[0]
    return names


def _is_secret(model: type[BaseModel], location: tuple[object, ...]) -> bool:
    models: Sequence[type[BaseModel]] = (model,)
    for part in location:
        shapes = [shape for candidate in models if (shape := _shapes(candidate).get(str(part))) is not None]
        if any(shape.is_secret for shape in shapes):
            return True
        models = [inner for shape in shapes for inner in shape.models] or models
    return False


def _shown(value: object) -> str:
    """A value in a few characters; what may have a secret inside is only named."""
    if isinstance(value, Mapping | BaseModel):
        return "an object"
    if isinstance(value, list | tuple | set | frozenset):
        return "a list"
    if isinstance(value, int) and abs(value) > 10**_SHOWN_LENGTH:
        return f"an integer of more than {_SHOWN_LENGTH} digits"
    if isinstance(value, str | bytes):
        value = value[: _SHOWN_LENGTH + 1]
    return _cut(str(value) if isinstance(value, Decimal) else repr(value), _SHOWN_LENGTH)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
