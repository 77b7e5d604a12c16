"""A dead letter is judged as the broker, or a worker, would judge it; what may be secret is masked or not shown."""

from __future__ import annotations

import json

import pytest

from hippo_messenger.catalogue.golden_hippo import CATALOGUE
from hippo_messenger.envelope import encode
from hippo_messenger.queues.letter import Letter, LetterId
from hippo_messenger.queues.letter_check import LetterCheck

EVENT_ID = "0198c0de-0000-7000-8000-000000000001"
FINE = b'{"orderId":"A-1","total":"1"}'


def letter(
    *, name: str = "ORDER_SUCCESS", event_type: str = "ORDER_SUCCESS", source: str = "order", data: bytes = FINE
) -> Letter:
    raw = encode(event_id=EVENT_ID, source=source, event_type=event_type, data=data)
    return Letter(LetterId(EVENT_ID, "1"), {"name": name.encode(), "data": raw})


def check(queue: str, *, max_bytes: int = 1 << 20) -> LetterCheck:
    return LetterCheck(CATALOGUE, queue=queue, max_bytes=max_bytes)


@pytest.mark.parametrize("queue", ["broker", "account"])
@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        (letter(data=b"{}"), "EventValidationError: the data doesn't fit ORDER_SUCCESS: orderId: required"),
        (letter(name="NEW", event_type="NEW"), "UnknownEventTypeError"),
        (Letter(LetterId("x", "1"), {"name": b"ORDER_SUCCESS", "data": b"no json"}), "InvalidEnvelopeError"),
        (Letter(LetterId("x", "1"), {}), "InvalidEnvelopeError"),
        (Letter(LetterId("x", "1", is_rejected=True), letter().fields), "turned away at send"),
    ],
)
def test_what_would_fail_again_has_a_fault(queue: str, wrong: Letter, fault: str) -> None:
    assert fault in str(check(queue).fault(wrong))


def test_what_would_be_taken_has_none() -> None:
    assert check("broker").fault(letter()) is None
    assert check("account").fault(letter()) is None
    assert check("account", max_bytes=100).fault(letter()) == f"expected at most 100 bytes, got {len(letter().data)}"


def test_the_broker_alone_minds_a_jobs_name_and_the_sender() -> None:
    for odd in (letter(name="ORDER_FAILED"), letter(source="stranger")):
        assert check("account").fault(odd) is None
        assert check("broker").fault(odd) is not None


@pytest.mark.parametrize(
    ("data", "is_fine"),
    [
        (b'{"serviceName":"account","listensTo":[]}', True),
        (b'{"serviceName":"stranger","listensTo":[]}', False),
        (b"{}", False),
    ],
)
def test_a_registration_is_judged_as_one(data: bytes, is_fine: bool) -> None:
    job = Letter(LetterId("7", "1"), {"name": b"hippo.register", "data": data})
    assert (check("broker").fault(job) is None) == is_fine
    assert check("broker").shown(job) == json.loads(data)


def test_secrets_are_masked_by_every_type_that_the_data_may_be_of() -> None:
    secret = b'{"verificationToken":"s3cret","cardLast4":"1234","note":"open"}'
    for found in (
        letter(name="ACCOUNT_REGISTERED", event_type="ORDER_SUCCESS", data=secret),
        letter(name="ORDER_SUCCESS", event_type="ACCOUNT_REGISTERED", data=secret),
    ):
        shown = json.dumps(check("account").shown(found))
        assert "s3cret" not in shown
        assert "open" in shown
    unknown = json.dumps(check("account").shown(letter(name="NEW", event_type="NEW", data=secret)))
    assert "open" not in unknown
    assert "NEW is not in this catalogue" in unknown
