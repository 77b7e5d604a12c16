"""What a user gives becomes a job for the broker, and what is wrong with it is said before anything is sent."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from hippo_messenger.catalogue.golden_hippo import CATALOGUE, HippoEvent, HippoService, OrderSuccess
from hippo_messenger.errors import ConfigurationError, EventTooLargeError, EventValidationError
from hippo_messenger.queues.queue import event_digest
from hippo_messenger.reading import EventReader
from hippo_messenger.writing import EventWriter

ORDER = OrderSuccess(order_id="A-1", total=Decimal("12.30"), email="c@example.com")
EVENT_ID = "an-event-of-this-test"
COPY = '{"attempts":3,"removeOnComplete":{"count":7}}'


@pytest.fixture
def writer() -> EventWriter:
    return EventWriter(CATALOGUE, service=HippoService.ORDER, max_bytes=2000)


def test_what_is_written_can_be_read(writer: EventWriter) -> None:
    written = writer.write(ORDER, event_id=EVENT_ID)

    event = EventReader(CATALOGUE).read(written.data, expected=written.name)

    assert (event.event_type, event.data) == (HippoEvent.ORDER_SUCCESS, ORDER)
    assert (event.envelope.id, event.envelope.source) == (EVENT_ID, "order")


def test_an_event_of_the_usual_kind_has_no_options_but_its_one_attempt(writer: EventWriter) -> None:
    written = writer.write(ORDER)

    assert (written.options, written.own_options, written.digest) == ('{"attempts":1}', "", b"")
    assert (written.delay, written.priority) == (0, 0)
    assert written.event_id != writer.write(ORDER).event_id


def test_job_and_direct_copy_are_due_at_one_time_and_in_one_place_of_their_lines(writer: EventWriter) -> None:
    written = writer.write(ORDER, event_id=EVENT_ID, delay=1.5, priority=9, copy_options=COPY)

    placed = {"delay": 1500, "priority": 9}
    assert json.loads(written.options) == {"attempts": 1} | placed
    assert json.loads(written.own_options) == json.loads(COPY) | placed
    assert (written.delay, written.priority) == (1500, 9)
    assert written.digest == event_digest("order", EVENT_ID)


def test_a_mapping_needs_its_type_and_is_validated(writer: EventWriter) -> None:
    data = {"orderId": "A-1", "total": "12.30"}

    assert writer.write(data, HippoEvent.ORDER_SUCCESS).name == "ORDER_SUCCESS"
    with pytest.raises(ConfigurationError, match="got dict without event_type"):
        writer.write(data)
    with pytest.raises(EventValidationError, match="orderId"):
        writer.write({"total": "12.30"}, HippoEvent.ORDER_SUCCESS)


def test_a_model_that_was_never_validated_is(writer: EventWriter) -> None:
    with pytest.raises(EventValidationError, match="total"):
        writer.write(OrderSuccess.model_construct(order_id="A-1", total="a lot"))


def test_data_and_type_must_belong_together(writer: EventWriter) -> None:
    with pytest.raises(ConfigurationError, match="got OrderSuccess, which is ORDER_SUCCESS"):
        writer.write(ORDER, HippoEvent.ORDER_FAILED)


def test_size_is_that_of_the_whole_envelope(writer: EventWriter) -> None:
    fits = writer.write(ORDER)
    narrow = EventWriter(CATALOGUE, service=HippoService.ORDER, max_bytes=len(fits.data))

    assert len(narrow.write(ORDER).data) == len(fits.data)
    with pytest.raises(EventTooLargeError, match="send a reference to the data instead"):
        narrow.with_expiry(fits, datetime(2026, 1, 2, tzinfo=UTC))


def test_an_expiry_changes_nothing_else(writer: EventWriter) -> None:
    written = writer.write(ORDER, event_id=EVENT_ID, delay=1, copy_options=COPY)

    expiring = writer.with_expiry(written, datetime(2026, 1, 2, tzinfo=UTC))

    assert json.loads(expiring.data) == json.loads(written.data) | {"expirytime": "2026-01-02T00:00:00.000Z"}
    assert expiring._replace(data=b"") == written._replace(data=b"")


def test_what_was_refused_is_shown_without_secrets_and_whatever_its_shape(writer: EventWriter) -> None:
    endless: list[object] = []
    endless.append(endless)
    shown = writer.shown({"verificationToken": "t0p-secret", "accountId": "C-1"}, HippoEvent.ACCOUNT_REGISTERED)

    assert "C-1" in repr(shown)
    assert "t0p-secret" not in repr(shown)
    assert "not shown" in str(writer.shown(OrderSuccess.model_construct(items=endless), HippoEvent.ORDER_SUCCESS))
