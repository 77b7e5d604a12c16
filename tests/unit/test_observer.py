"""Whoever is told what happens can do no harm to it."""

from __future__ import annotations

import pytest

from hippo_messenger.observer import Observer, guarded


class Listening(Observer):
    def __init__(self) -> None:
        self.heard: list[str] = []

    def sent(self, event_type: str, *, origin: str) -> None:
        self.heard.append(f"{event_type} of {origin}")

    def ready(self, owner: str) -> None:
        raise RuntimeError(f"no words for {owner}")


def test_it_is_told_what_it_wants_to_hear_of() -> None:
    observer = Listening()

    guarded(observer).sent("ORDER_SUCCESS", origin="order")
    guarded(observer).unready("worker of account", reason="nobody listens")

    assert observer.heard == ["ORDER_SUCCESS of order"]


def test_what_it_raises_goes_no_further_and_is_logged_once_for_a_while(caplog: pytest.LogCaptureFixture) -> None:
    guard = guarded(Listening())

    for _ in range(3):
        guard.ready("worker of account")

    assert caplog.text.count("the observer raised at ready") == 1
    assert "no words for worker of account" in caplog.text


def test_what_it_does_not_override_is_not_called_in_a_roundabout_way() -> None:
    """An event may cost no more because nobody listens."""
    assert vars(guarded(Observer())) == vars(guarded(None)) == {}
    assert vars(guarded(Listening())).keys() == {"sent", "ready"}
