"""The wire format: what is written can be read, and what can't be read says why."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hippo_messenger.envelope import check_event_id, decode, encode, new_event_id, with_expiry
from hippo_messenger.errors import InvalidEnvelopeError, InvalidEventIdError

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(), children, max_size=4),
    max_leaves=12,
)


def test_an_event_id_is_a_uuid_of_version_7_and_sorts_by_time() -> None:
    ids = [new_event_id() for _ in range(1000)]

    assert len(set(ids)) == 1000
    assert {UUID(event_id).version for event_id in ids} == {7}
    assert [event_id[:13] for event_id in ids] == sorted(event_id[:13] for event_id in ids)
    assert all(check_event_id(event_id) == event_id for event_id in ids)


@pytest.mark.parametrize("event_id", ["a" * 16, "a" * 64, "order-A_1-2026-11-23", "0" * 15 + "x"])
def test_a_callers_own_id_is_taken(event_id: str) -> None:
    assert check_event_id(event_id) == event_id


@pytest.mark.parametrize(
    "event_id",
    [
        "",
        "a" * 15,
        "a" * 65,
        "1234567890123456",
        "waiting-children",
        "order:0123456789abcdef",
        "é" * 20,
        "a" * 16 + "\n",
    ],
)
def test_an_id_that_bullmq_redis_or_node_would_misread_is_refused(event_id: str) -> None:
    with pytest.raises(InvalidEventIdError, match="expected an event id"):
        check_event_id(event_id)


@given(data=JSON_VALUES, source=st.text(min_size=1), event_type=st.text(min_size=1))
def test_what_is_written_is_read_back(data: object, source: str, event_type: str) -> None:
    raw = encode(event_id="a" * 20, source=source, event_type=event_type, data=json.dumps(data).encode())

    envelope = decode(raw)

    assert (envelope.id, envelope.source, envelope.type, envelope.data) == ("a" * 20, source, event_type, data)
    assert json.loads(raw)["specversion"] == "1.0"


def test_time_is_utc_with_milliseconds_as_node_writes_it() -> None:
    noon = datetime(2026, 11, 23, 13, 0, 0, 123456, tzinfo=timezone(timedelta(hours=1)))

    raw = encode(event_id="a" * 20, source="order", event_type="X", data=b"{}", time=noon)

    assert json.loads(raw)["time"] == "2026-11-23T12:00:00.123Z"
    assert decode(raw).time == datetime(2026, 11, 23, 12, 0, 0, 123000, tzinfo=UTC)


def test_members_that_are_none_are_left_out_and_unknown_ones_are_kept() -> None:
    raw = encode(
        event_id="a" * 20,
        source="o",
        event_type="X",
        data=b"{}",
        extensions={"traceparent": None, "partitionkey": "k", "new": 1},
    )

    assert "traceparent" not in json.loads(raw)
    assert decode(raw).extensions == {"partitionkey": "k", "new": 1}


@pytest.mark.parametrize(
    "written", ["2026-11-23T12:00:00.000Z", "2026-11-23T12:00:00z", "2026-11-23 13:00:00+01:00", None]
)
def test_an_expiry_is_read_however_rfc_3339_lets_it_be_written(written: str | None) -> None:
    ours = json.loads(encode(event_id="a" * 20, source="o", event_type="X", data=b"{}"))
    for envelope in (ours, {name: ours[name] for name in ours if name != "time"}):
        read = decode(json.dumps(envelope | {"expirytime": written}).encode())
        assert read.expires == (None if written is None else datetime(2026, 11, 23, 12, tzinfo=UTC))
        assert read.extensions == {"expirytime": written}


@given(data=JSON_VALUES)
def test_an_expiry_can_be_added_to_what_was_written(data: object) -> None:
    expiry = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
    raw = encode(event_id="a" * 20, source="o", event_type="X", data=json.dumps(data).encode())

    added = with_expiry(raw, expiry)

    assert json.loads(added) == json.loads(raw) | {"expirytime": "2026-11-23T12:00:00.123Z"}
    assert decode(added).expires == datetime(2026, 11, 23, 12, 0, 0, 123000, tzinfo=UTC)


WHOLE = {"specversion": "1.0", "id": "a" * 20, "source": "order", "type": "ORDER_SUCCESS", "data": {}}


@pytest.mark.parametrize("member", ["specversion", "id", "source", "type", "data"])
def test_a_missing_member_is_named(member: str) -> None:
    incomplete = {name: value for name, value in WHOLE.items() if name != member}

    with pytest.raises(InvalidEnvelopeError, match=f"{member}: Field required"):
        decode(json.dumps(incomplete).encode())


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("specversion", "0.3"),
        ("id", 7),
        ("id", "short"),
        ("source", ""),
        ("type", None),
        ("time", "yesterday"),
        ("time", "2026-11-23T12:00:00"),
        ("datacontenttype", "text/plain"),
        ("expirytime", "soon"),
        ("expirytime", 1_800_000_000),
        ("expirytime", "2026-11-23T12:00:00"),
        ("expirytime", "2026-11-23"),
        ("expirytime", "2026-13-23T12:00:00Z"),
        ("expirytime", "0001-01-01T00:00:00+14:00"),
        ("expirytime", {}),
    ],
)
def test_a_member_of_the_wrong_kind_is_named(member: str, value: object) -> None:
    with pytest.raises(InvalidEnvelopeError, match=member):
        decode(json.dumps(WHOLE | {member: value}).encode())


@given(st.binary())
def test_whatever_bytes_come_the_error_is_named(raw: bytes) -> None:
    try:
        decode(raw)
    except InvalidEnvelopeError:
        pass


@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b'"text"', b"{", b"\xff\xfe", b"[" * 100_000, b'{"a":NaN}'])
def test_what_is_no_event_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidEnvelopeError, match="expected one event in CloudEvents"):
        decode(raw)
