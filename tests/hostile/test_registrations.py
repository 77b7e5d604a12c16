"""Whatever stands in the place of a registration is read as one, or refused by name and in few words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hippo_messenger.errors import InvalidRegistrationError
from hippo_messenger.registration import Registration, Registrations, Retention
from hippo_messenger.retry import RetryPolicy
from tests.hostile.strategies import BOMBS, FUZZ, JSON, JSON_TEXTS, WIRE, check_message, mutated, wire_bytes

WHOLE: dict[str, Any] = {
    "serviceName": "account",
    "listensTo": ["ORDER_SUCCESS", "CONFIG_CHANGE"],
    "jobOptions": {
        "attempts": 5,
        "backoff": {"type": "exponential", "delay": 1000, "jitter": 0.5},
        "removeOnComplete": {"age": 60, "count": 10},
    },
    "registrationNumber": 7,
}
LONGEST_MESSAGE = 500
LONGEST_DELAY = 24 * 3600
LARGEST = 2**53


def check(raw: bytes) -> None:
    """Either refused, or a registration that is the same when it is written and read again, and can be gone by."""
    try:
        registration = Registration.from_wire(raw)
    except InvalidRegistrationError as error:
        check_message(error, LONGEST_MESSAGE)
        return
    assert Registration.from_wire(registration.to_wire()) == registration
    policy = registration.retry
    assert 1 <= policy.attempts <= LARGEST
    for tried in (1, 2, 1000):
        delay = policy.delay_after(tried, chance=1.0)
        assert delay is None or 0 <= delay <= LONGEST_DELAY
    for limit in (registration.completed.age, registration.completed.count):
        assert limit is None or 0 <= limit <= LARGEST
    assert json.loads(registration.job_options)["attempts"] == policy.attempts
    assert Registrations([registration]).by_service[registration.service] is registration


@FUZZ
@given(WIRE)
def test_any_bytes_are_a_registration_or_refused(raw: bytes) -> None:
    check(raw)


@FUZZ
@given(mutated(WHOLE))
def test_a_registration_with_a_few_changes_is_one_or_refused(raw: bytes) -> None:
    check(raw)


@FUZZ
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "attempts": JSON_TEXTS,
            "backoff": JSON_TEXTS | st.builds(lambda *values: _backoff(values), JSON_TEXTS, JSON_TEXTS, JSON_TEXTS),
            "removeOnComplete": JSON_TEXTS | st.builds(lambda *values: _retention(values), JSON_TEXTS, JSON_TEXTS),
            "delay": JSON_TEXTS,
        },
    )
)
@example({"attempts": "1" + "0" * 400})
@example({"attempts": "1e308"})
@example({"attempts": "2", "backoff": "1.7976931348623157e308"})
@example({"attempts": "2", "backoff": "1.5"})
@example({"attempts": "2", "backoff": '{"type":[],"delay":{},"jitter":1' + "0" * 400 + "}"})
@example({"removeOnComplete": '{"age":Infinity}'})
@example({"removeOnComplete": "1" + "0" * 400})
def test_job_options_of_any_shape_are_taken_or_refused(options: dict[str, str]) -> None:
    inside = wire_bytes(options.items()).decode(errors="surrogatepass")
    members = [("serviceName", '"account"'), ("listensTo", "[]"), ("jobOptions", inside)]
    check(wire_bytes(members))


def _backoff(values: tuple[str, ...]) -> str:
    return f'{{"type":{values[0]},"delay":{values[1]},"jitter":{values[2]}}}'


def _retention(values: tuple[str, ...]) -> str:
    return f'{{"age":{values[0]},"count":{values[1]}}}'


@FUZZ
@given(st.dictionaries(st.sampled_from(["attempts", "backoff"]), JSON) | JSON.map(lambda value: {"backoff": value}))
@example({"attempts": float("inf"), "backoff": float("nan")})
@example({"attempts": 10**400, "backoff": {"delay": 10**400, "jitter": 10**400, "type": None}})
@example({"attempts": True, "backoff": {"delay": -5, "jitter": -1}})
def test_the_options_of_a_job_give_a_policy_whatever_they_are(options: dict[str, Any]) -> None:
    policy = RetryPolicy.from_job_options(options)
    delay = policy.delay_after(1, chance=1.0)
    assert delay is None or 0 <= delay <= LONGEST_DELAY
    assert RetryPolicy.from_job_options(policy.to_job_options()) == policy


@FUZZ
@given(JSON)
@example(float("inf"))
@example({"age": float("inf"), "count": float("nan")})
@example({"age": 10**400, "count": -(10**400)})
def test_retention_is_bounded_or_none_whatever_the_option_is(option: object) -> None:
    retention = Retention.from_job_option(option, default=Retention(count=9))
    for limit in (retention.age, retention.count):
        assert limit is None or 0 <= limit <= LARGEST
    assert Retention.from_job_option(retention.to_job_option(), default=Retention(count=9)) == retention


@pytest.mark.parametrize("bomb", BOMBS)
@pytest.mark.parametrize("place", ["the whole", "listensTo", "jobOptions"])
def test_ten_megabytes_are_a_registration_or_refused(bomb: str, place: str) -> None:
    if place == "the whole":
        check(BOMBS[bomb])
        return
    others = json.dumps({name: value for name, value in WHOLE.items() if name != place})[:-1].encode()
    check(others + b',"' + place.encode() + b'":' + BOMBS[bomb] + b"}")
