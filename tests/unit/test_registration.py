"""Who listens to what, and where an event goes."""

from __future__ import annotations

import json

import pytest

from hippo_messenger.envelope import Envelope
from hippo_messenger.errors import InvalidNameError, InvalidRegistrationError
from hippo_messenger.registration import Registration, Registrations, Retention, check_service_name, route
from hippo_messenger.retry import RetryPolicy


def listening(service: str, *event_types: str) -> Registration:
    return Registration(service, frozenset(event_types))


def event(event_type: str, source: str) -> Envelope:
    return Envelope(id="a" * 20, source=source, type=event_type, data={})


REGISTRATIONS = Registrations(
    [
        listening("shipping", "ORDER"),
        listening("account", "ORDER", "CONFIG"),
        listening("config", "CONFIG"),
        listening("idle"),
    ]
)


@pytest.mark.parametrize(
    ("event_type", "source", "services"),
    [
        ("ORDER", "order", ["account", "shipping"]),
        ("ORDER", "account", ["shipping"]),
        ("CONFIG", "config", ["account"]),
        ("UNHEARD", "order", []),
    ],
)
def test_every_listener_gets_a_copy_but_never_the_origin(event_type: str, source: str, services: list[str]) -> None:
    assert [entry.service for entry in route(event(event_type, source), REGISTRATIONS)] == services


def test_no_registrations_are_false() -> None:
    assert not Registrations()
    assert Registrations([listening("idle")])


def test_a_registration_survives_the_wire() -> None:
    registration = Registration(
        "account", frozenset({"B", "A"}), retry=RetryPolicy(attempts=7, delay=0.25), completed=Retention(age=60)
    )

    assert Registration.from_wire(registration.to_wire()) == registration


def test_equal_registrations_give_equal_bytes() -> None:
    assert listening("account", "A", "B").to_wire() == listening("account", "B", "A").to_wire()


def test_a_node_peer_need_not_say_more_than_its_name_and_listeners() -> None:
    registration = Registration.from_wire(b'{"serviceName":"account","listensTo":["ORDER_SUCCESS"],"anything":1}')

    assert registration == Registration("account", frozenset({"ORDER_SUCCESS"}))
    assert json.loads(registration.job_options)["attempts"] == 3


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "the whole"),
        (b"[]", "the whole"),
        (b"{}", "serviceName"),
        (b'{"serviceName":"account"}', "listensTo"),
        (b'{"serviceName":7,"listensTo":[]}', "serviceName"),
        (b'{"serviceName":"account","listensTo":[7]}', "listensTo.0"),
        (b'{"serviceName":"broker","listensTo":[]}', "reserved"),
        (b'{"serviceName":"a:b","listensTo":[]}', "serviceName"),
        (b'{"serviceName":"account","listensTo":[],"jobOptions":[]}', "jobOptions"),
    ],
)
def test_what_is_no_registration_is_refused_with_a_reason(raw: bytes, reason: str) -> None:
    with pytest.raises(InvalidRegistrationError, match=reason):
        Registration.from_wire(raw)


@pytest.mark.parametrize("name", ["", "Account", "a b", "a:b", "-a", "a" * 65, "broker", "registry", "é"])
def test_a_name_that_can_name_no_queue_is_refused(name: str) -> None:
    with pytest.raises(InvalidNameError, match="expected a service name"):
        check_service_name(name)


@pytest.mark.parametrize(
    ("option", "retention"),
    [
        (True, Retention(count=0)),
        (False, Retention()),
        (50, Retention(count=50)),
        (-1, Retention()),
        ({"age": 60, "count": 5}, Retention(age=60, count=5)),
        ({"age": "x"}, Retention()),
        (None, Retention(count=9)),
        ("soon", Retention(count=9)),
    ],
)
def test_retention_reads_every_form_of_bullmqs_option(option: object, retention: Retention) -> None:
    assert Retention.from_job_option(option, default=Retention(count=9)) == retention
