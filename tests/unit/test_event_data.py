"""Event data: what is taken, what goes over the wire, what is refused and how that is said."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, RootModel
from typing_extensions import TypeAliasType

from hippo_messenger.catalogue.golden_hippo import (
    CATALOGUE,
    AccountRegistered,
    ConfigChange,
    HippoEvent,
    LineItem,
    OrderSuccess,
)
from hippo_messenger.catalogue.model import EventData, EventPart, Secret, masked, read_data, read_data_json, to_wire
from hippo_messenger.errors import EventValidationError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


class Parcel(EventPart):
    code: Annotated[str, Secret()]
    weight: int = 0


class Handover(EventData, event_type=HippoEvent.SHIPMENT_DELIVERED, since="1.0"):
    """A test's own."""

    pin: Annotated[int, Secret()]
    parcels: list[Parcel] | None = None
    by_door: dict[str, Parcel] | None = None


class Codes(RootModel[list[Annotated[str, Secret()]]]):
    """A list with a name of its own."""


class Doors(RootModel[dict[str, Parcel]]):
    """A dictionary with a name of its own."""


Pin = TypeAliasType("Pin", Annotated[str, Secret()])
Tree = TypeAliasType("Tree", "dict[str, Tree] | str")


class Nested(EventData, event_type=HippoEvent.SHIPMENT_DELIVERED, since="1.0"):
    """Marks that stand within what a field may be."""

    optional: Annotated[str, Secret()] | None = None
    either: int | Annotated[str, Secret(), Field(min_length=2)] | None = None
    listed: list[Annotated[str, Secret()]] | None = None
    by_name: dict[str, Annotated[str, Secret()]] | None = None
    parts: list[Annotated[Parcel, Secret()]] | None = None
    named: Pin | None = None
    in_root: Codes | None = None
    without_brackets: Annotated[str | None, Secret] = None
    doors: Doors | None = None
    tree: Tree | None = None


NESTED = {
    "optional": "Zk3a",
    "either": "Zk3b",
    "listed": ["Zk3c", "Zk3d"],
    "byName": {"x": "Zk3e"},
    "parts": [{"code": "Zk3f", "weight": 1}],
    "named": "Zk3g",
    "inRoot": ["Zk3h"],
    "withoutBrackets": "Zk3i",
}


def test_both_kinds_of_names_are_taken() -> None:
    assert OrderSuccess.model_validate({"orderId": "A", "total": "1"}) == OrderSuccess(order_id="A", total=Decimal(1))
    assert read_data(OrderSuccess, {"order_id": "A", "total": 1}).order_id == "A"


def test_wire_names_are_camel_case_and_what_is_none_is_left_out() -> None:
    data = OrderSuccess(
        order_id="A-1",
        total=Decimal("12.30"),
        items=[LineItem(sku="S", unit_price=Decimal("0.10"))],
        placed_at=datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC),
    )
    assert json.loads(to_wire(data)) == {
        "orderId": "A-1",
        "total": "12.30",
        "items": [{"sku": "S", "quantity": 1, "unitPrice": "0.10"}],
        "placedAt": "2026-01-02T03:04:05.678000Z",
    }


def test_unknown_fields_are_kept_and_passed_on() -> None:
    raw = {"orderId": "A", "total": "1", "loyaltyPoints": 7, "items": [{"sku": "S", "quantity": 1, "colour": "red"}]}
    assert json.loads(to_wire(read_data(OrderSuccess, raw))) == raw


@given(extra=st.dictionaries(st.text(min_size=1), JSON.filter(lambda value: value is not None), max_size=4))
def test_whatever_is_unknown_comes_through_as_it_was(extra: dict[str, Any]) -> None:
    known = {field.alias for field in ConfigChange.model_fields.values()} | set(ConfigChange.model_fields)
    raw = {"key": "k", **{name: value for name, value in extra.items() if name not in known}}
    wire = json.loads(to_wire(read_data(ConfigChange, raw)))
    assert without_none(wire) == without_none(raw)


def without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_none(inner) for name, inner in value.items() if inner is not None}
    return [without_none(inner) for inner in value] if isinstance(value, list) else value


def test_every_wrong_field_is_named_with_what_was_expected_and_what_came() -> None:
    with pytest.raises(EventValidationError) as caught:
        read_data(OrderSuccess, {"total": "much", "items": [{"sku": "S", "quantity": 0}], "currency": "euro"})
    assert [str(field) for field in caught.value.fields] == [
        "orderId: required",
        "total: Input should be a valid decimal, got 'much'",
        "currency: String should match pattern '^[A-Z]{3}$', got 'euro'",
        "items.0.quantity: Input should be greater than or equal to 1, got 0",
    ]
    assert caught.value.event_type == "ORDER_SUCCESS"


@pytest.mark.parametrize("value", [None, [], "text", 7])
def test_data_that_is_no_object_is_refused(value: object) -> None:
    with pytest.raises(EventValidationError, match="data: an object"):
        read_data(OrderSuccess, value)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), 2**53, -(2**53), 10**30])
def test_numbers_that_javascript_cannot_hold_are_refused(number: float) -> None:
    with pytest.raises(EventValidationError, match="value"):
        to_wire(ConfigChange.model_construct(key="k", value=number))
    with pytest.raises(EventValidationError, match=r"value\.deep\.0|value"):
        to_wire(ConfigChange.model_construct(key="k", value={"deep": [number]}))


@pytest.mark.parametrize("number", [2**53 - 1, -(2**53) + 1, 0.1, 1e300])
def test_numbers_that_javascript_can_hold_are_taken(number: float) -> None:
    assert json.loads(to_wire(ConfigChange(key="k", value=number)))["value"] == number


def test_a_long_number_in_a_text_is_no_number() -> None:
    assert b"12345678901234567890" in to_wire(ConfigChange(key="k", value="12345678901234567890 NaN"))


def test_what_has_no_json_is_refused() -> None:
    with pytest.raises(EventValidationError, match="what JSON can hold"):
        to_wire(ConfigChange.model_construct(key="k", value=object()))


def test_event_data_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        AccountRegistered(account_id="A").account_id = "B"


def test_what_is_marked_secret_is_masked_wherever_it_stands() -> None:
    raw = {"pin": 1234, "parcels": [{"code": "x", "weight": 2}], "byDoor": {"left": {"code": "y"}}, "other": 1}
    assert masked(Handover, raw) == {
        "pin": "***",
        "parcels": [{"code": "***", "weight": 2}],
        "byDoor": {"left": {"code": "***"}},
        "other": 1,
    }


def test_a_mark_within_a_union_a_list_or_a_dictionary_masks_the_whole_field() -> None:
    """Guards against marks that only a look into the annotation finds."""
    read_data(Nested, NESTED)
    assert masked(Nested, NESTED) == dict.fromkeys(NESTED, "***")
    others = {"doors": {"left": {"code": "Zk3", "weight": 1}}, "tree": {"a": {"b": "c"}}}
    expected = others | {"doors": {"left": {"code": "***", "weight": 1}}}
    assert masked(Nested, others) == expected
    assert masked(Nested, others | {"doors": Doors({"left": Parcel(code="Zk3", weight=1)})}) == expected


def test_an_error_shows_nothing_of_a_field_that_is_marked_within() -> None:
    wrong: dict[str, object] = dict.fromkeys(NESTED, 753) | {
        "either": "Z",
        "listed": ["Zk3c", 753],
        "byName": {"x": 753},
        "parts": [{"code": 753}],
        "inRoot": ["Zk3h", 753],
        "doors": {"left": {"code": 753}},
    }
    with pytest.raises(EventValidationError) as caught:
        read_data(Nested, wrong)
    assert {field.path.split(".")[0] for field in caught.value.fields} == set(wrong)
    assert {field.got for field in caught.value.fields} == {"***"}


def test_an_error_shows_no_secret() -> None:
    with pytest.raises(EventValidationError) as caught:
        read_data(Handover, {"pin": "my-pin", "parcels": [{"code": ["my-code"]}], "by_door": {"l": {"code": 9876}}})
    said = str(caught.value)
    assert "pin: " in said
    assert not any(secret in said for secret in ("my-pin", "my-code", "9876"))


def test_json_that_is_none_is_refused() -> None:
    with pytest.raises(EventValidationError, match="Invalid JSON"):
        read_data_json(OrderSuccess, b"{")


@pytest.mark.parametrize("event_type", list(HippoEvent))
def test_the_wire_form_of_every_shipped_event_is_read_again(event_type: HippoEvent) -> None:
    model = CATALOGUE.model(event_type)
    required = {
        str(field.alias): "12" if field.annotation in (str, Decimal) else 1
        for field in model.model_fields.values()
        if field.is_required()
    }
    data = read_data(model, required)
    assert read_data_json(model, to_wire(data)) == data
