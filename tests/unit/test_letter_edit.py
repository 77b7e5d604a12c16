"""New data for a dead letter: validated, secrets put back, everything else of its envelope as it was."""

from __future__ import annotations

import json
from enum import auto
from typing import Annotated, Any

import pytest

from hippo_messenger.catalogue.catalogue import Catalogue
from hippo_messenger.catalogue.model import EventData, EventPart, EventType, Secret, Service
from hippo_messenger.envelope import decode
from hippo_messenger.errors import (
    DeadLetterError,
    EventTooLargeError,
    EventValidationError,
    InvalidEnvelopeError,
    UnknownEventTypeError,
)
from hippo_messenger.queues.letter import Letter, LetterId
from hippo_messenger.queues.letter_check import LetterCheck
from hippo_messenger.queues.letter_edit import LetterEdit

EVENT_ID = "0198c0de-0000-7000-8000-000000000001"


class Who(Service):
    SHOP = auto()


class What(EventType):
    PAID = auto()


class Card(EventPart):
    holder: str
    number: Annotated[str, Secret()]


class Paid(EventData, event_type=What.PAID, since="1.0"):
    """Somebody has paid."""

    order_id: str
    cards: list[Card] | None = None
    note: str | None = None
    pin: Annotated[str | None, Secret()] = None


CHECK = LetterCheck(Catalogue(services=Who, events=What, models=[Paid]), queue="billing", max_bytes=2000)
CARDS = [{"holder": "a", "number": "1111"}, {"holder": "b", "number": "2222"}]
DATA = {
    "orderId": "A-1",
    "cards": CARDS,
    "note": "***",
    "pin": "1234",
}


def letter(data: object = DATA, *, name: str = "PAID", rejected: bool = False, **members: object) -> Letter:
    envelope: dict[str, Any] = {
        "specversion": "1.0",
        "id": EVENT_ID,
        "source": "shop",
        "type": "PAID",
        "time": "2026-01-02T03:04:05.678Z",
        "correlationid": "c-1",
        "data": data,
    }
    envelope |= members
    raw = json.dumps({key: value for key, value in envelope.items() if value is not None}).encode()
    return Letter(LetterId("job-of-the-letter", "1", rejected), {"name": name.encode(), "data": raw})


def edited(of: Letter, data: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(LetterEdit(of, CHECK).edited(data))
    return found


def test_what_stays_masked_stays_what_it_was_and_what_is_no_secret_is_taken_as_it_is() -> None:
    shown = json.loads(LetterEdit(letter(), CHECK).data_to_edit)
    assert shown == DATA | {
        "pin": "***",
        "cards": [{"holder": "a", "number": "***"}, {"holder": "b", "number": "***"}],
    }
    assert edited(letter(), shown)["data"] == DATA
    changed = shown | {"orderId": "A-2", "pin": "9999"}
    assert edited(letter(), changed)["data"] == DATA | {"orderId": "A-2", "pin": "9999"}


@pytest.mark.parametrize(
    ("cards", "missing"),
    [
        (["b"], {"cards.0.number"}),
        (["b", "a"], {"cards.0.number", "cards.1.number"}),
        (["new", "a"], {"cards.0.number", "cards.1.number"}),
        (["a", "b", "c"], {"cards.0.number", "cards.1.number", "cards.2.number"}),
    ],
)
def test_no_element_of_a_list_gets_the_secret_of_another(cards: list[str], missing: set[str]) -> None:
    """Guards against secrets put back by their place in a list from which something was deleted or moved."""
    with pytest.raises(EventValidationError, match="its list has changed") as caught:
        edited(letter(), DATA | {"cards": [{"holder": holder, "number": "***"} for holder in cards]})
    assert {field.path for field in caught.value.fields} == missing
    assert "1111" not in str(caught.value)


def test_secrets_in_a_list_stay_where_all_else_in_it_stays() -> None:
    changed = [{"holder": "a", "number": "***"}, {"holder": "b", "number": "3333"}]
    assert edited(letter(), {"orderId": "A-2", "cards": changed})["data"]["cards"] == [
        CARDS[0],
        {"holder": "b", "number": "3333"},
    ]
    anew = [{"holder": "b", "number": "2222"}]
    assert edited(letter(), {"orderId": "A-2", "cards": anew})["data"]["cards"] == anew


def test_everything_else_of_the_envelope_is_as_it_was() -> None:
    new = edited(letter(), {"orderId": "A-2"})
    assert new.pop("data") == {"orderId": "A-2"}
    old = json.loads(letter().data)
    del old["data"]
    assert new == old | {"datacontenttype": "application/json"}


@pytest.mark.parametrize(
    ("data", "paths"),
    [
        ({"orderId": 7}, {"orderId"}),
        ({"cards": [{"holder": "a"}]}, {"orderId", "cards.0.number"}),
        ("text", {"data"}),
        (None, {"data"}),
        ({"orderId": "A", "cards": [*CARDS, {"holder": "c", "number": "***"}]}, {"cards.2.number"}),
    ],
)
def test_what_does_not_fit_is_refused_by_its_fields(data: object, paths: set[str]) -> None:
    with pytest.raises(EventValidationError) as caught:
        edited(letter(), data)
    assert {field.path for field in caught.value.fields} == paths
    assert "1111" not in str(caught.value)


def test_what_is_too_large_or_too_deep_is_refused() -> None:
    with pytest.raises(EventTooLargeError, match="at most 2,000 bytes"):
        edited(letter(), {"orderId": "x" * 2000})
    deep: dict[str, Any] = {"orderId": "A"}
    for _ in range(5000):
        deep = {"orderId": "A", "more": deep}
    with pytest.raises(EventValidationError, match="less deep"):
        edited(letter(), deep)


def test_an_envelope_that_is_none_is_made_anew_around_what_is_known() -> None:
    broken = letter(specversion="0.3", id=None)
    with pytest.raises(InvalidEnvelopeError):
        decode(broken.data)
    new = decode(json.dumps(edited(broken, {"orderId": "A"})).encode())
    assert (new.id, new.source, new.type) == ("job-of-the-letter", "shop", "PAID")


def test_a_rejected_event_becomes_one_with_the_id_of_its_record() -> None:
    raw = b'{"shortened":"{\\"source\\":\\"shop\\",\\"type\\":\\"PAID\\",\\"data\\":{\\"orderId\\":\\"A"}'
    record = Letter(LetterId("rejected-0123456789abcdef", "1", is_rejected=True), {"name": b"PAID", "data": raw})
    edit = LetterEdit(record, CHECK)
    new = decode(edit.edited({"orderId": "A"}))
    assert (new.id, new.source) == ("rejected-0123456789abcdef", "shop")
    assert json.loads(edit.options) == {"attempts": 1}
    assert LetterEdit(letter(), CHECK).options == ""


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        (letter(name="UNHEARD_OF"), UnknownEventTypeError),
        (letter(source=None), DeadLetterError),
        (letter(source=7), DeadLetterError),
        (Letter(LetterId("x", "1"), {"name": b"PAID", "data": b"no json"}), DeadLetterError),
    ],
)
def test_what_nobody_could_validate_or_send_is_not_edited(broken: Letter, error: type[Exception]) -> None:
    with pytest.raises(error):
        LetterEdit(broken, CHECK)


def test_a_letter_without_any_usable_id_is_not_edited() -> None:
    raw = b'{"source":"shop","data":{}}'
    with pytest.raises(DeadLetterError, match="an id that an event can have"):
        LetterEdit(Letter(LetterId("7", "1"), {"name": b"PAID", "data": raw}), CHECK).edited({"orderId": "A"})
