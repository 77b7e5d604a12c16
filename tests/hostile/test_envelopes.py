"""Whatever stands in the place of an envelope is read as one, or refused by name and in few words."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from pydantic_core import to_json

from hippo_messenger.catalogue.golden_hippo import CATALOGUE, HippoEvent, HippoService
from hippo_messenger.envelope import Envelope, decode, encode
from hippo_messenger.errors import InvalidEnvelopeError, UnknownEventTypeError, UnknownServiceError
from hippo_messenger.reading import EventReader
from tests.hostile.strategies import BOMBS, FUZZ, JSON_TEXTS, WIRE, check_message, mutated

WHOLE: dict[str, Any] = {
    "specversion": "1.0",
    "id": "hostile-event-0001",
    "source": "order",
    "type": "ORDER_SUCCESS",
    "time": "2026-11-23T12:00:00.123Z",
    "datacontenttype": "application/json",
    "data": {"orderId": "A-1", "total": "1"},
    "traceparent": "00-1-1-00",
}
LONGEST_MESSAGE = 1500
READER = EventReader(CATALOGUE)


def read(raw: bytes) -> Envelope | None:
    """The envelope, or None where it is refused as it should be."""
    try:
        return decode(raw)
    except InvalidEnvelopeError as error:
        check_message(error, LONGEST_MESSAGE)
        return None


def check(raw: bytes) -> None:
    """Either refused, or an envelope that is the same when it is written and read again."""
    envelope = read(raw)
    if envelope is None:
        return
    again = encode(
        event_id=envelope.id,
        source=envelope.source,
        event_type=envelope.type,
        data=to_json(envelope.data, inf_nan_mode="constants"),
        time=envelope.time or datetime(2026, 11, 23, tzinfo=UTC),
        extensions=envelope.extensions,
    )
    assert_is_json(again)
    second = decode(again)
    assert (second.id, second.source, second.type, second.data) == (
        envelope.id,
        envelope.source,
        envelope.type,
        envelope.data,
    )
    assert second.extensions == {name: value for name, value in envelope.extensions.items() if value is not None}


def assert_is_json(raw: bytes) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    json.loads(raw, parse_constant=refuse)


@FUZZ
@given(WIRE)
def test_any_bytes_are_an_envelope_or_refused(raw: bytes) -> None:
    check(raw)


@FUZZ
@given(mutated(WHOLE))
def test_an_envelope_with_a_few_changes_is_an_envelope_or_refused(raw: bytes) -> None:
    check(raw)


@FUZZ
@given(JSON_TEXTS)
@example('{"amount":NaN}')
@example('{"deep":[{"amount":-Infinity}]}')
@example('{"amount":1e999}')
@example("9" * 400 + ".5")
def test_what_javascript_cannot_read_never_passes_as_data(data: str) -> None:
    head = json.dumps({name: value for name, value in WHOLE.items() if name != "data"})[:-1]
    raw = f'{head},"data":{data}}}'.encode(errors="surrogatepass")
    check(raw)
    if read(raw) is not None:
        assert_is_json(raw)


@pytest.mark.parametrize("event_id", ["111111111111111e9", "0190e000-0e00-70e0-9e99-0123456789ab"])
@pytest.mark.parametrize("number", ["111111111111111e999", "-1E+999", "9" * 400 + ".5"])
def test_an_id_that_looks_like_a_number_hides_none(event_id: str, number: str) -> None:
    """Guards against an id that is left out of the look for numbers taking a part of one along."""
    head = json.dumps({name: value for name, value in WHOLE.items() if name not in ("data", "id")})[1:]
    raw = f'{{"data":{{"orderId":"A-1","total":"1","weight":{number}}},"id":"{event_id}",{head}'.encode()
    assert read(raw) is None
    assert READER.read_at_once(raw, expected="ORDER_SUCCESS") is None
    assert READER.read_at_once(raw.replace(number.encode(), b"1e9"), expected="ORDER_SUCCESS") is not None


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("place", ["the whole", "data", "type", "an extension"])
def test_ten_megabytes_are_an_envelope_or_refused(bomb: str, place: str) -> None:
    if place == "the whole":
        assert read(BOMBS[bomb]) is None
        return
    member = "extension" if place == "an extension" else place
    others = json.dumps({name: value for name, value in WHOLE.items() if name != member})[:-1].encode()
    envelope = read(others + b',"' + member.encode() + b'":' + BOMBS[bomb] + b"}")
    assert envelope is None or member in ("data", "extension", "type")


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_a_time_that_utc_does_not_have_is_refused(time: str) -> None:
    with pytest.raises(InvalidEnvelopeError, match="time: "):
        decode(json.dumps(WHOLE | {"time": time}).encode())


@pytest.mark.parametrize("name", ["x" * 10_000_000, "order" * 2_000_000, "\ud800" * 1000, "💥" * 200, "\n" * 200])
def test_a_name_as_long_as_a_book_is_refused_in_few_words(name: str) -> None:
    with pytest.raises(UnknownEventTypeError) as unknown_type:
        CATALOGUE.event_type(name)
    with pytest.raises(UnknownServiceError) as unknown_service:
        CATALOGUE.service(name)
    for caught in (unknown_type, unknown_service):
        check_message(caught.value, LONGEST_MESSAGE)


def test_a_name_that_is_only_misspelt_still_gets_its_hint() -> None:
    with pytest.raises(UnknownEventTypeError, match=HippoEvent.ORDER_SUCCESS):
        CATALOGUE.event_type("ORDER_SUCESS")
    with pytest.raises(UnknownServiceError, match=HippoService.ACCOUNT):
        CATALOGUE.service("acount")


@FUZZ
@given(mutated(WHOLE))
@example(json.dumps(WHOLE).encode())
def test_the_short_way_to_read_an_event_leads_where_the_long_one_does(raw: bytes) -> None:
    short = READER.read_at_once(raw, expected="ORDER_SUCCESS")
    if short is None:
        return
    long = READER.read_step_by_step(raw)
    assert (short.event_type, short.data) == (long.event_type, long.data)
    assert short.envelope._replace(data=None) == long.envelope._replace(data=None)


def test_what_a_messenger_writes_goes_the_short_way() -> None:
    data = b'{"orderId":"A-1","total":"1"}'
    raw = encode(event_id=WHOLE["id"], source="order", event_type="ORDER_SUCCESS", data=data)
    assert READER.read_at_once(raw, expected="ORDER_SUCCESS") is not None
    assert READER.read_at_once(json.dumps(WHOLE).encode(), expected="ORDER_SUCCESS") is not None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("specversion", "1.1"),
        ("id", "short"),
        ("id", 7),
        ("source", ""),
        ("type", None),
        ("type", "ORDER_CREATED"),
        ("time", "2026-02-30T12:00:00.123Z"),
        ("time", "0001-01-01T00:00:00+23:59"),
        ("datacontenttype", "text/plain"),
        ("data", {"orderId": "A-1"}),
        ("data", {"orderId": "A-1", "total": "1", "weight": 1e999}),
        ("extension", float("nan")),
    ],
)
def test_the_short_way_is_not_for_what_is_refused(name: str, value: object) -> None:
    raw = json.dumps(WHOLE | {name: value}).encode()
    assert READER.read_at_once(raw, expected="ORDER_SUCCESS") is None
    assert READER.read_at_once(json.dumps(WHOLE).encode(), expected="NO_SUCH_TYPE") is None
