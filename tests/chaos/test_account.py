"""The account must see what is lost, doubled and done again for no reason, or `make chaos` proves nothing."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from tests.chaos.account import Account, Verdict
from tests.chaos.crew import Ending
from tests.chaos.faults import Fault
from tests.chaos.log import Entry

EVENT = "sender-1-001-0000001"
FIRST_COPY, SECOND_COPY = "1700000000000", "1700000000005"


def sent(how: str = "accepted", *, more: str = "") -> list[Entry]:
    return [
        Entry("sender-1.001", 0.0, "sending", EVENT, more),
        *([Entry("sender-1.001", 0.1, how, EVENT)] if how else []),
    ]


def run(by: str, at: float, *, starts: int = 1, job: str = FIRST_COPY, is_done: bool = True) -> list[Entry]:
    began = Entry(by, at, "began", EVENT, f"{starts} {job}")
    return [began, Entry(by, at + 0.01, "done", EVENT)] if is_done else [began]


def verdict(entries: Iterable[Entry], *, endings: Iterable[Ending] = (), faults: Iterable[Fault] = ()) -> Verdict:
    account = Account()
    account.add(entries)
    return account.close(tuple(endings), tuple(faults))


EVERYWHERE = [*run("account-1.001", 1), *run("shipping-1.001", 1)]


def test_an_event_that_every_service_processed_once_is_accounted_for() -> None:
    found = verdict([*sent(), *EVERYWHERE])
    assert (found.lost, found.twice, found.uncalled, found.repeats) == ((), (), (), ())
    assert (found.deliveries, found.processed, found.sends) == (2, 2, {"accepted": 1})


def test_an_accepted_event_that_one_service_did_not_process_is_lost_there() -> None:
    assert verdict([*sent(), *run("account-1.001", 1)]).lost == (("shipping", EVENT),)
    began_only = [*run("account-1.001", 1), *run("shipping-1.001", 1, is_done=False)]
    assert verdict([*sent(), *began_only]).lost == (("shipping", EVENT),)


def test_the_senders_own_copy_is_owed_where_it_was_asked_for_and_only_there() -> None:
    assert verdict([*sent(more="notify"), *EVERYWHERE]).lost == (("order", EVENT),)
    assert verdict([*sent(), *EVERYWHERE, *run("order-1.001", 1)]).uncalled == (("order", EVENT),)


def test_an_event_that_is_said_to_be_not_sent_must_be_nowhere() -> None:
    assert not verdict(sent("unsent")).uncalled
    assert verdict([*sent("unsent"), *run("account-1.001", 1)]).uncalled == (("account", EVENT),)


@pytest.mark.parametrize("how", ["possibly", ""])
def test_a_possibly_sent_event_is_everywhere_or_nowhere(how: str) -> None:
    assert not verdict(sent(how)).lost
    assert not verdict([*sent(how), *EVERYWHERE]).lost
    assert verdict([*sent(how), *run("account-1.001", 1)]).lost == (("shipping", EVENT),)


def test_a_not_sent_after_a_possibly_sent_says_nothing_about_the_earlier_try() -> None:
    entries = [*sent("possibly"), Entry("sender-1.001", 0.2, "again", EVENT)]
    entries += [Entry("sender-1.001", 0.3, "unsent", EVENT)]
    found = verdict([*entries, *EVERYWHERE])
    assert (found.uncalled, found.sends) == ((), {"possibly sent": 1})


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(run("account-2.001", 2, starts=2, job=SECOND_COPY), id="two copies by their time"),
        pytest.param(run("account-2.001", 2, starts=1), id="a copy that begins at its first start once more"),
    ],
)
def test_two_copies_in_one_service_are_seen(second: list[Entry]) -> None:
    assert verdict([*sent(), *EVERYWHERE, *second]).twice == (("account", EVENT),)


def test_a_second_processing_without_a_cause_is_seen() -> None:
    found = verdict([*sent(), *EVERYWHERE, *run("account-2.001", 2, starts=2)])
    assert [repeat.event_id for repeat in found.unexplained] == [EVENT]
    assert not found.twice


def test_a_worker_that_was_killed_right_after_the_effect_is_a_cause() -> None:
    twice = [*sent(), *EVERYWHERE, *run("account-2.001", 5, starts=2)]
    killed = Fault("kill worker", ("account-1",), 1.1, 2.0)
    found = verdict(twice, endings=[Ending("account-1.001", 1.1, "killed", -9)], faults=[killed])
    assert [(repeat.fault, repeat.cause) for repeat in found.repeats] == [
        ("kill worker", "its worker was killed after the effect, before settling")
    ]


def test_a_worker_that_was_killed_long_after_is_none() -> None:
    twice = [*sent(), *EVERYWHERE, *run("account-2.001", 90, starts=2)]
    killed = Fault("kill worker", ("account-1",), 80, 81)
    assert verdict(twice, endings=[Ending("account-1.001", 80, "killed", -9)], faults=[killed]).unexplained


def test_a_lost_lock_is_a_cause_where_a_fault_took_it_and_for_one_repeat_only() -> None:
    lost = Entry("account-1.001", 4, "lost", EVENT)
    twice = [*sent(), *EVERYWHERE, *run("account-2.001", 3.5, starts=2), lost]
    stop = Fault("stop worker", ("account-1",), 1.005, 4)
    assert [repeat.fault for repeat in verdict(twice, faults=[stop]).repeats] == ["stop worker"]
    assert verdict(twice).unexplained, "no fault, so no reason to lose a lock"
    other = Fault("stop worker", ("shipping-1",), 1.005, 4)
    assert verdict(twice, faults=[other]).unexplained, "a fault of another worker is none"
    thrice = [*twice, *run("account-2.001", 6, starts=3)]
    assert len(verdict(thrice, faults=[stop]).unexplained) == 1


def test_a_worker_that_was_stopped_while_redis_was_away_for_long_is_a_cause() -> None:
    twice = [*sent(), *EVERYWHERE, *run("account-2.001", 20, starts=2)]
    stopped = Ending("account-1.001", 9, "stopped", 0)
    away = [Fault("stall Redis", ("redis",), 1.005, 4), Fault("restart Redis", ("redis",), 6, 7)]
    found = verdict(twice, endings=[stopped], faults=away)
    assert [repeat.cause for repeat in found.repeats] == ["its worker was stopped and could not settle: stall Redis"]
    assert verdict(twice, endings=[stopped]).unexplained
