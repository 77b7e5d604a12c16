"""What a worker or broker says of itself."""

from __future__ import annotations

import pytest

from hippo_messenger.health import Health, Pulse


def test_who_has_just_polled_is_ready() -> None:
    pulse = Pulse(limit=60)
    pulse.beat()
    health = pulse.health(stopped="", redis_ok=True)
    assert health.ready
    assert health.alive
    assert health.last_poll_age is not None
    assert 0 <= health.last_poll_age < 60


@pytest.mark.parametrize("beats", [0, 1])
def test_who_has_not_polled_for_too_long_is_not_ready_unless_it_has_no_room(beats: int) -> None:
    pulse = Pulse(limit=-1.0)
    for _ in range(beats):
        pulse.beat()
    health = pulse.health(stopped="", redis_ok=True)
    assert (health.ready, health.alive) == (False, True)
    assert "has not polled its queue for" in health.reason
    assert pulse.health(stopped="", redis_ok=True, excused=True).ready


def test_who_was_stopped_is_not_alive_and_says_why() -> None:
    pulse = Pulse(limit=60)
    pulse.beat()
    health = pulse.health(stopped="it was stopped", redis_ok=True)
    assert (health.ready, health.alive, health.reason) == (False, False, "it was stopped")


def test_without_redis_nobody_is_ready() -> None:
    pulse = Pulse(limit=60)
    pulse.beat()
    health = pulse.health(stopped="", redis_ok=False)
    assert (health.ready, health.alive, health.reason) == (False, True, "Redis gives no answer")


def test_ready_is_whoever_has_no_reason_not_to_be() -> None:
    assert Health(alive=True, last_poll_age=1.0, redis_ok=True).ready
    assert not Health(alive=True, last_poll_age=1.0, redis_ok=True, reason="why").ready
