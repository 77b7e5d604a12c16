"""Whatever comes as an event's data fits its model, or is refused field by field, in few words and without secrets."""

from __future__ import annotations

import json
from decimal import Decimal
from enum import auto
from typing import Annotated, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hippo_messenger.catalogue.golden_hippo import CATALOGUE, HippoEvent, OrderSuccess
from hippo_messenger.catalogue.model import EventData, EventType, Secret, read_data, to_wire
from hippo_messenger.errors import EventValidationError
from tests.hostile.strategies import FUZZ, JSON, TEXTS, check_message

LONGEST_MESSAGE = 5000
SECRET = "hunter2"


def check(model: type[EventData], value: object) -> None:
    """Refused, or data that is the same when it is written and read again, or whose numbers can't be written."""
    try:
        data = read_data(model, value)
        wire = to_wire(data)
    except EventValidationError as error:
        check_message(error, LONGEST_MESSAGE)
        return
    assert to_wire(read_data(model, json.loads(wire))) == wire


@pytest.mark.parametrize("event_type", list(HippoEvent))
@settings(FUZZ, max_examples=50)
@given(data=st.data())
def test_any_json_fits_a_model_or_is_refused(event_type: HippoEvent, data: st.DataObject) -> None:
    model = CATALOGUE.model(event_type)
    names = [field.alias or name for name, field in model.model_fields.items()]
    known = st.dictionaries(st.sampled_from(names), JSON | st.just({"sku": "S"}) | st.just([{"sku": 7}]), max_size=8)
    required = {field.alias or name: "12" for name, field in model.model_fields.items() if field.is_required()}
    value = data.draw(JSON | known | known.map(lambda found: required | found))
    check(model, value)


@FUZZ
@given(st.dictionaries(TEXTS | st.just("orderId"), JSON, max_size=4))
@example({"orderId": "A", "total": "1e999999999", "extra": 10**400})
@example({"orderId": "\ud800", "total": "1"})
@example({"orderId": "A", "total": "NaN"})
@example({"orderId": "A", "total": 1, "\ud800": "\udfff"})
@example({"orderId": "A", "total": "1" * 100_000})
@example({"orderId": 10**5000, "total": 10**5000})
def test_an_order_of_any_shape_fits_or_is_refused(value: dict[str, Any]) -> None:
    check(OrderSuccess, value)


@pytest.mark.parametrize(
    "value",
    [
        {"orderId": "x" * 10_000_000, "total": "x" * 10_000_000},
        {"orderId": ["x" * 10_000_000], "total": {"x" * 10_000_000: 1}},
        {"orderId": "A", "total": 1, "items": [{}] * 1_000},
        {"orderId": "A", "total": 1, "items": [{}] * 1_000_000},
        {"orderId": b"\xff" * 10_000_000, "total": "9" * 5_000},
        "x" * 10_000_000,
        [{}] * 1_000_000,
    ],
    ids=["long texts", "long names", "1,000 faults", "1,000,000 faults", "bytes", "a text", "a list"],
)
def test_ten_megabytes_are_refused_in_few_words(value: object) -> None:
    with pytest.raises(EventValidationError) as caught:
        read_data(OrderSuccess, value)
    check_message(caught.value, LONGEST_MESSAGE)
    assert sum(len(str(field)) for field in caught.value.fields) <= 1_000_000


@pytest.mark.parametrize("depth", [100, 5_000, 100_000])
def test_data_as_deep_as_a_well_is_taken_or_refused(depth: int) -> None:
    value: Any = "bottom"
    for _ in range(depth):
        value = [value]
    check(OrderSuccess, {"orderId": "A", "total": 1, "extra": value})
    check(OrderSuccess, {"orderId": value, "total": 1})
    check(OrderSuccess, value)


def test_data_that_contains_itself_is_refused() -> None:
    circle: dict[str, Any] = {"orderId": "A", "total": 1}
    circle["self"] = circle
    with pytest.raises(EventValidationError, match="what JSON can hold"):
        to_wire(read_data(OrderSuccess, circle))


class SafeEvent(EventType):
    OPENED = auto()


class Key(EventData):
    code: Annotated[int, Secret()]


class SafeOpened(EventData, event_type=SafeEvent.OPENED, since="1.0"):
    """Somebody has opened a safe."""

    pin: Annotated[str, Secret()]
    keys: list[Key] | None = None
    by_door: dict[str, Key] | None = None
    amount: Decimal = Decimal(0)


@pytest.mark.parametrize(
    "value",
    [
        {"pin": [SECRET]},
        {"pin": {"text": SECRET}},
        {"pin": "x", "keys": [{"code": SECRET}]},
        {"pin": "x", "keys": {"code": SECRET}},
        {"pin": "x", "keys": [[{"code": SECRET}]]},
        {"pin": "x", "byDoor": {"left": [{"code": SECRET}]}},
        {"pin": "x", "byDoor": [{"code": SECRET}]},
        {"pin": "x", "amount": {"pin": SECRET}},
        [{"pin": SECRET}],
        f'{{"pin":"{SECRET}"}}',
    ],
)
def test_no_secret_is_in_the_message_wherever_it_stands(value: object) -> None:
    with pytest.raises(EventValidationError) as caught:
        read_data(SafeOpened, value)
    assert SECRET not in str(caught.value)


def test_a_secret_number_that_javascript_cannot_hold_is_not_shown() -> None:
    with pytest.raises(EventValidationError) as caught:
        to_wire(SafeOpened(pin="x", keys=[Key(code=9999999999999999)]))
    assert "9999999999999999" not in str(caught.value)
    assert "keys.0.code" in str(caught.value)
