"""A messenger whose service isn't registered registers again, but not for ever at the same pace."""

from __future__ import annotations

from hippo_messenger.presence import is_due


def test_a_service_that_is_not_registered_registers_again_more_and_more_rarely() -> None:
    """Guards against a refused registration every 30 s, each of which the broker keeps as a failed job."""
    looks = range(-1, 100)  # the first follows the registration at once
    assert [look for look in looks if is_due(look)] == [1, 2, 4, 8, 16, 32, 48, 64, 80, 96]
