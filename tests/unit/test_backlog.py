"""Which events may go on when services have a limit, and for how long the others are held."""

from __future__ import annotations

import pytest

from hippo_messenger.backlog import BacklogLimit, hold_delay, without_room
from hippo_messenger.errors import ConfigurationError, InvalidRegistrationError
from hippo_messenger.registration import Registration, Registrations


@pytest.mark.parametrize(
    ("wanted", "room", "full"),
    [
        ([], {}, []),
        ([["a", "b"], []], {}, [(), ()]),
        ([["a"], ["a"], ["a"]], {"a": 2}, [(), (), ("a",)]),
        ([["a"], ["b"], ["a"]], {"a": 1}, [(), (), ("a",)]),
        ([["a", "b"], ["b"]], {"a": 0, "b": 1}, [("a",), ()]),  # what is held takes no room from others
        ([["a", "b"]], {"a": -3, "b": 0}, [("a", "b")]),
    ],
)
def test_an_event_goes_on_where_all_its_services_have_room(
    wanted: list[list[str]], room: dict[str, int], full: list[tuple[str, ...]]
) -> None:
    assert without_room(wanted, room) == full


def test_an_event_is_held_twice_as_long_each_time_up_to_half_a_minute() -> None:
    assert [hold_delay(times, shortest=1, chance=1) for times in (0, 1, 2, 3, 9, 10_000)] == [1, 2, 4, 8, 30, 30]
    assert hold_delay(3, shortest=1, chance=0) == 4
    assert hold_delay(0, shortest=60, chance=1) == 60


@pytest.mark.parametrize("jobs", [0, -1, 1.5, True, "7", 2**31])
def test_a_limit_is_a_number_of_jobs(jobs: object) -> None:
    with pytest.raises(ConfigurationError, match="expected a backlog limit"):
        BacklogLimit(jobs)  # type: ignore[arg-type]


def test_another_word_for_when_full_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'hold' or 'refuse', got 'drop'"):
        BacklogLimit(1, when_full="drop")  # type: ignore[arg-type]


def test_a_limit_survives_the_wire_and_none_leaves_no_trace() -> None:
    limited = Registration("shipping", frozenset({"A"}), backlog=BacklogLimit(10, when_full="refuse"))
    free = Registration("billing", frozenset({"A"}))
    assert Registration.from_wire(limited.to_wire()) == limited
    assert b'"backlog":{"limit":10,"whenFull":"refuse"}' in limited.to_wire()
    assert b"backlog" not in free.to_wire()
    assert Registrations([limited, free]).limits == {"shipping": BacklogLimit(10, when_full="refuse")}


@pytest.mark.parametrize("backlog", ["7", '{"limit":0}', '{"limit":"many"}', '{"limit":5,"whenFull":"drop"}', "{}"])
def test_a_limit_that_is_none_is_named(backlog: str) -> None:
    raw = f'{{"serviceName":"account","listensTo":[],"backlog":{backlog}}}'.encode()
    with pytest.raises(InvalidRegistrationError, match="backlog"):
        Registration.from_wire(raw)
