"""When changes of a registration are two deployments that undo each other's, and when they are not."""

from __future__ import annotations

import pytest

from hippo_messenger.clash import Change, find_clash
from hippo_messenger.registration import Maker, Registration

MINUTE = 60.0
OLD, NEW, CANARY = Maker("old", "host-1"), Maker("new", "host-2"), Maker("canary", "host-3")
UNKNOWN = Maker()


def changes(*made: tuple[float, Maker, str]) -> list[Change]:
    """When, by whom, and the letters of what it listens to; the oldest first."""
    return [Change(at, maker, Registration("shipping", frozenset(letters))) for at, maker, letters in reversed(made)]


@pytest.mark.parametrize(
    ("made", "is_clash"),
    [
        ([], False),
        ([(0, OLD, "A")], False),
        ([(0, OLD, "A"), (1, NEW, "AB")], False),  # a roll-out
        ([(0, OLD, "A"), (1, NEW, "AB"), (2, OLD, "A")], True),
        ([(0, OLD, "A"), (1, NEW, "AB"), (2, CANARY, "A")], True),  # another instance of the first
        ([(0, OLD, "A"), (1, NEW, "AB"), (2, CANARY, "ABC")], False),
        ([(0, OLD, "A"), (1, NEW, "AB"), (2, CANARY, "C"), (3, OLD, "A")], True),
        ([(0, OLD, "A"), (1, OLD, ""), (2, OLD, "A")], False),  # one that changes its mind and back
        ([(0, OLD, "A"), (1, NEW, "B"), (2, NEW, "A")], False),
        ([(0, UNKNOWN, "A"), (1, UNKNOWN, "B"), (2, UNKNOWN, "A")], True),  # Node doesn't say which it is
        ([(0, OLD, "A"), (1, UNKNOWN, "A")], False),  # the repeat job, after an entry was lost
        ([(0, OLD, "A"), (1, NEW, "B"), (16 * MINUTE, OLD, "A")], False),  # long after
        ([(0, OLD, "A"), (1, NEW, "B"), (2, OLD, "A"), (3, OLD, "C")], True),  # undone a moment ago
    ],
)
def test_what_is_a_clash(made: list[tuple[float, Maker, str]], is_clash: bool) -> None:
    now = made[-1][0] if made else 0.0
    assert (find_clash(changes(*made), now=now) is not None) == is_clash


def test_a_clash_is_over_when_nothing_was_undone_for_long() -> None:
    made = changes((0, OLD, "A"), (1, NEW, "B"), (2, OLD, "A"))
    assert find_clash(made, now=14 * MINUTE) is not None
    assert find_clash(made, now=16 * MINUTE) is None


def test_a_clash_names_both_lists_and_the_hosts() -> None:
    clash = find_clash(changes((0, OLD, "A"), (1, NEW, "AB"), (2, CANARY, "A")), now=3)
    assert clash is not None
    assert (clash.service, clash.changes) == ("shipping", 3)
    assert (clash.stands.listens_to, clash.stands.hosts) == (("A",), ("host-1", "host-3"))
    assert (clash.other.listens_to, clash.other.hosts) == (("A", "B"), ("host-2",))
    assert "one listens to A (from host-1, host-3), the other to A, B (from host-2)" in str(clash)
