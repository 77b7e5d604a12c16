"""How long an event counts, as its sender says it. Pure: the time now is an argument."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hippo_messenger.errors import ConfigurationError

__all__ = ["Expiry", "expiry_time"]

Expiry = float | datetime
"""Seconds from now, or a time with a zone."""

_LONGEST = 10 * 365 * 24 * 3600.0
_FORMS = "expected an expiry in seconds, from above 0 to ten years, or as a datetime with a zone"


def expiry_time(expires: Expiry, *, now: datetime, delay: float) -> datetime:
    """When an event expires.

    Args:
        expires: What the sender asks for.
        now: By Redis' clock.
        delay: Seconds before the event is routed: it must still count then.

    Raises:
        ConfigurationError: It is neither seconds nor a time with a zone, or is past before the event can be routed.
    """
    expiring = _moment(expires, now)
    if expiring <= now:
        raise ConfigurationError(f"expected an expiry after {now.isoformat()} (now, for Redis), got {expires!r}")
    if expiring <= now + timedelta(seconds=delay):
        raise ConfigurationError(
            f"expected an expiry after the delay of {delay:g} s, got {expires!r}: the event would expire before it is "
            "routed; give it longer, or delay it less"
        )
    return expiring


def _moment(expires: Expiry, now: datetime) -> datetime:
    if isinstance(expires, datetime):
        if expires.tzinfo is None or expires.utcoffset() is None:
            raise ConfigurationError(f"{_FORMS}, got one without: {expires!r}; datetime.now(UTC) has one")
        try:
            return expires.astimezone(UTC)
        except OverflowError:
            raise ConfigurationError(f"{_FORMS}, in the years 1 to 9999 of UTC, got {expires!r}") from None
    if isinstance(expires, bool) or not isinstance(expires, int | float) or not 0 < expires <= _LONGEST:
        raise ConfigurationError(f"{_FORMS}, got {expires!r}")
    return now + timedelta(seconds=expires)
