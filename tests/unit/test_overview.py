"""How many jobs finished in the last sixty seconds, from what BullMQ's metrics keep."""

from __future__ import annotations

import pytest

from hippo_messenger.queues.overview import last_minute

MINUTE = 60_000
NOON = 1_000 * MINUTE


@pytest.mark.parametrize(
    ("now", "count", "since", "before", "newest", "expected"),
    [
        (NOON, "12", str(NOON), "2", "6", 16.0),  # ten in this minute, which has just begun, and all six of the last
        (NOON + MINUTE // 2, "12", str(NOON), "2", "6", 13.0),  # half of the last minute is still within sixty seconds
        (NOON + MINUTE // 2, "12", str(NOON), "2", "", 10.0),  # there was no minute before
        (NOON + MINUTE, "12", str(NOON), "2", "6", 10.0),  # nothing since: the minute that is over counts whole
        (NOON + MINUTE + MINUTE // 2, "12", str(NOON), "2", "6", 5.0),
        (NOON + 2 * MINUTE, "12", str(NOON), "2", "6", 0.0),
        (NOON, "", "", "", "", 0.0),  # no metrics
        (NOON, "nan", str(NOON), "0", "0", 0.0),  # somebody else has written there
        (NOON, "5", str(NOON + 10 * MINUTE), "0", "0", 0.0),  # a clock that went back
    ],
)
def test_the_last_minute(now: int, count: str, since: str, before: str, newest: str, expected: float) -> None:
    assert last_minute(now, [count.encode(), since.encode(), before.encode(), newest.encode()]) == expected
