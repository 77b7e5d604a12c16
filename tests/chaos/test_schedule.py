"""The plan of a seed."""

from __future__ import annotations

from collections import Counter

from tests.chaos.schedule import WEIGHTS, plan


def test_a_seed_says_what_happens_when() -> None:
    assert plan(7, count=50, seconds=60) == plan(7, count=50, seconds=60)
    assert plan(7, count=50, seconds=60) != plan(8, count=50, seconds=60)


def test_every_kind_comes_and_the_heavy_ones_more_often() -> None:
    planned = plan(1, count=220, seconds=1260)
    times = Counter(fault.kind for fault in planned)
    assert times.keys() == WEIGHTS.keys()
    assert len(planned) == 220
    assert times["kill worker"] > times["stall Redis"] > times["rolling restart"]
    assert [fault.at for fault in planned] == sorted(fault.at for fault in planned)
    assert planned[-1].at < 1260


def test_what_a_machine_does_not_allow_is_left_out() -> None:
    assert "full disk" not in {fault.kind for fault in plan(1, count=60, seconds=60, without=frozenset({"full disk"}))}
