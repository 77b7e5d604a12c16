"""The demo's accounting can fail: each kind of fault is found in a ledger that holds it."""

from __future__ import annotations

from dataclasses import replace

from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService
from hippo_messenger.demo.accounting import Account, Latency, ServiceAccount, reconcile
from hippo_messenger.demo.feed import FeedLine
from hippo_messenger.demo.ledger import Entry
from hippo_messenger.demo.roster import RETRY, Member

ROSTER = (
    Member("order", (HippoService.ORDER,)),
    Member("shipping-1", (HippoService.SHIPPING,), frozenset({HippoEvent.ORDER_SUCCESS})),
    Member("shipping-2", (HippoService.SHIPPING,), frozenset({HippoEvent.ORDER_SUCCESS})),
    Member("canary", (HippoService.SHIPPING,), frozenset({HippoEvent.ORDER_SUCCESS}), works=False),
)
FEED = [FeedLine(number, HippoService.ORDER, HippoEvent.ORDER_SUCCESS, None, {}) for number in (1, 2, 3)]
WELL = [
    Entry("sent", "order", line=1, event_id="a"),
    Entry("sent", "order", line=2, event_id="b"),
    Entry("rejected", "order", line=3),
    Entry("began", "shipping-1", event_id="a", attempt=1),
    Entry("done", "shipping-1", event_id="a", attempt=1),
    Entry("began", "shipping-2", event_id="b", attempt=1),
    Entry("raised", "shipping-2", event_id="b", attempt=1),
    Entry("began", "shipping-1", event_id="b", attempt=2),
    Entry("done", "shipping-1", event_id="b", attempt=2),
]


def account_of(*entries: Entry, without: Entry | None = None) -> Account:
    return reconcile(FEED, [*(entry for entry in WELL if entry != without), *entries], ROSTER)


def shipping(account: Account) -> ServiceAccount:
    return next(service for service in account.services if service.service is HippoService.SHIPPING)


def test_all_is_well() -> None:
    account = account_of()
    assert account.faults == ()
    assert account.is_settled
    assert (account.lines, account.sent, account.rejected, account.repeated) == (3, 2, 1, 0)
    assert shipping(account) == ServiceAccount(HippoService.SHIPPING, 2, 2, 2, 1, 0, (), (), (), Latency(0.0, 0.0, 0.0))


def test_latency_is_from_the_first_send_to_the_first_attempt() -> None:
    times = {0: 100.0, 3: 100.25, 1: 100.0, 5: 102.0, 7: 110.0}
    entries = [replace(entry, at=times.get(place, 0.0)) for place, entry in enumerate(WELL)]
    again = replace(entries[0], at=105.0)  # the same event, sent again later
    account = reconcile(FEED, [*entries, again], ROSTER)
    assert shipping(account).latency == Latency(median=2.0, p99=2.0, longest=2.0)
    assert Latency.of([0.001 * number for number in range(1, 201)]) == Latency(0.101, 0.199, 0.2)


def test_an_event_that_never_arrived_is_missing() -> None:
    account = account_of(without=WELL[4])
    assert account.faults == ("1 events missing at shipping: a",)
    assert not account.is_settled


def test_an_event_that_was_processed_twice_is_double() -> None:
    account = account_of(replace(WELL[4], by="shipping-2"))
    assert account.faults == ("1 events processed more than once by shipping: a",)


def test_an_event_that_nobody_sent_is_stray() -> None:
    assert account_of(Entry("began", "shipping-1", event_id="x", attempt=1)).faults == (
        "1 events at shipping that it is not owed: x",
    )


def test_an_event_that_comes_back_to_its_sender_is_stray() -> None:
    assert "1 events at order that it is not owed: a" in account_of(Entry("began", "order", event_id="a")).faults


def test_a_job_that_the_canary_took_is_a_fault() -> None:
    assert "1 jobs taken by the canary" in account_of(Entry("began", "canary", event_id="a")).faults[0]


def test_a_line_of_which_nothing_is_known_is_a_fault() -> None:
    assert account_of(without=WELL[2]).faults == ("1 lines of the feed nobody knows about: 3",)


def test_a_line_that_could_not_be_sent_is_a_fault() -> None:
    assert account_of(Entry("unsent", "order", line=3), without=WELL[2]).faults == ("1 lines could not be sent: 3",)


def test_an_event_whose_last_attempt_failed_is_dead_and_not_missing() -> None:
    account = account_of(Entry("raised", "shipping-1", event_id="a", attempt=RETRY.attempts), without=WELL[4])
    assert account.faults == ()
    assert shipping(account).dead == 1


def test_an_event_that_is_sent_twice_is_owed_once() -> None:
    account = account_of(Entry("sent", "order", line=3, event_id="a"), without=WELL[2])
    assert account.faults == ()
    assert (account.repeated, shipping(account).owed) == (1, 2)
