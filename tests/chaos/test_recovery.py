"""What is measured, and what is left out because something else held it up."""

from __future__ import annotations

import pytest

from tests.chaos.account import Account
from tests.chaos.crew import Ending
from tests.chaos.faults import Fault
from tests.chaos.log import Entry
from tests.chaos.recovery import recoveries

EVENT = "sender-1-001-0000001"


def took(entries: list[Entry], *, endings: list[Ending], faults: list[Fault], back: list[float]) -> list[list[float]]:
    account = Account()
    account.add(entries)
    return [list(recovery.took) for recovery in recoveries(account, endings, faults, back, lock=3)]


def began(by: str, at: float) -> Entry:
    return Entry(by, at, "began", EVENT, "1 1700000000000")


FIRST = began("account-1.001", 1)
SECOND = [began("account-2.001", 13), Entry("account-2.001", 13.5, "done", EVENT)]
KILLED = Ending("account-1.001", 11, "killed", -9)


def test_a_job_in_hand_counts_from_the_kill_to_its_next_begin() -> None:
    kill = Fault("kill worker", ("account-1",), 10.9, 11.5)
    assert took([FIRST, *SECOND], endings=[KILLED], faults=[kill], back=[]) == [[], [2], []]


def test_a_job_that_was_put_back_counts_from_then() -> None:
    put_back = Entry("account-1.001", 12.75, "cancelled", EVENT)
    stopped = Ending("account-1.001", 13, "stopped", 0)
    assert took([FIRST, put_back, *SECOND], endings=[stopped], faults=[], back=[]) == [[], [], [0.25]]


def test_a_job_that_waits_for_its_retry_is_not_measured() -> None:
    raised = Entry("account-1.001", 1.5, "raised", EVENT)
    assert took([FIRST, raised, *SECOND], endings=[KILLED], faults=[], back=[]) == [[], [], []]


@pytest.mark.parametrize("target", ["redis", "account-2"])
def test_what_another_fault_held_up_is_not_measured(target: str) -> None:
    other = Fault("stall", (target,), 11.5, 12)
    assert took([FIRST, *SECOND], endings=[KILLED], faults=[other], back=[]) == [[], [], []]


def test_redis_counts_from_its_return_unless_it_goes_again() -> None:
    assert took([*SECOND], endings=[], faults=[], back=[13.25]) == [[0.25], [], []]
    again = Fault("kill Redis", ("redis",), 13.4, 15)
    assert took([*SECOND], endings=[], faults=[again], back=[13.25]) == [[], [], []]
