"""Whether every event arrived, once: the ledger against what the roster and the feed promise. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from hippo_messenger.catalogue.golden_hippo import HippoService
from hippo_messenger.demo.feed import FeedLine
from hippo_messenger.demo.ledger import Entry
from hippo_messenger.demo.roster import RETRY, Member

__all__ = ["Account", "Latency", "ServiceAccount", "reconcile"]


@dataclass(frozen=True, slots=True)
class Latency:
    """How long events took, in seconds."""

    median: float
    p99: float
    longest: float

    @classmethod
    def of(cls, seconds: Iterable[float]) -> Latency | None:
        """None for no events."""
        ordered = sorted(seconds)
        if not ordered:
            return None
        return cls(ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100], ordered[-1])


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """What became of the events that one service is owed."""

    service: HippoService
    owed: int
    delivered: int
    """Events that reached a processor."""
    processed: int
    retried: int
    """Attempts after the first."""
    dead: int
    missing: tuple[str, ...]
    """Owed, and neither processed nor dead."""
    double: tuple[str, ...]
    """Processed more than once."""
    stray: tuple[str, ...]
    """Delivered, but not owed."""
    latency: Latency | None
    """From `send` to the processor's first attempt; None while nothing has arrived."""


@dataclass(frozen=True, slots=True)
class Account:
    """What became of every line of a feed."""

    lines: int
    sent: int
    rejected: int
    repeated: int
    """Sent, under an id that was sent before."""
    unsent: tuple[int, ...]
    """Lines that could not be sent."""
    untold: tuple[int, ...]
    """Lines of which nothing is known (yet)."""
    by_canary: int
    """Jobs that a process with its workers off has taken."""
    services: tuple[ServiceAccount, ...]

    @property
    def is_settled(self) -> bool:
        """Whether nothing is outstanding any more."""
        return not self.untold and not any(service.missing for service in self.services)

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong, in words; nothing, if every event is accounted for."""
        found = [
            _fault(self.untold, "lines of the feed nobody knows about"),
            _fault(self.unsent, "lines could not be sent"),
            f"{self.by_canary} jobs taken by the canary, whose workers are off" if self.by_canary else "",
        ]
        for service in self.services:
            name = service.service.value
            found.append(_fault(service.missing, f"events missing at {name}"))
            found.append(_fault(service.double, f"events processed more than once by {name}"))
            found.append(_fault(service.stray, f"events at {name} that it is not owed"))
        return tuple(fault for fault in found if fault)


def reconcile(feed: Sequence[FeedLine], entries: Iterable[Entry], roster: Sequence[Member]) -> Account:
    """The account of a feed, from what the processes wrote down."""
    by_what: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        by_what[entry.what].append(entry)
    told = {entry.line for what in ("sent", "rejected", "unsent") for entry in by_what[what]}
    lines = {line.number: line for line in feed}
    sent = {entry.event_id: lines[entry.line] for entry in by_what["sent"] if entry.line in lines}
    members = {member.name: member for member in roster}
    workers = [member for member in roster if member.works]
    return Account(
        lines=len(feed),
        sent=len(by_what["sent"]),
        rejected=len(by_what["rejected"]),
        repeated=len(by_what["sent"]) - len(sent),
        unsent=tuple(sorted(entry.line for entry in by_what["unsent"])),
        untold=tuple(sorted(lines.keys() - told)),
        by_canary=sum(not members[entry.by].works for entry in by_what["began"]),
        services=tuple(
            _account_of(service, sent, by_what, [member for member in workers if member.service == service])
            for service in dict.fromkeys(member.service for member in workers)
        ),
    )


def _account_of(
    service: HippoService,
    sent: Mapping[str, FeedLine],
    by_what: Mapping[str, Sequence[Entry]],
    workers: Sequence[Member],
) -> ServiceAccount:
    names = {member.name for member in workers}
    listens_to = {event_type.value for event_type in workers[0].listens_to}
    owed = {
        event_id
        for event_id, line in sent.items()
        if line.event_type.value in listens_to and line.sender.value != service.value
    }
    began = Counter(entry.event_id for entry in by_what.get("began", ()) if entry.by in names)
    done = Counter(entry.event_id for entry in by_what.get("done", ()) if entry.by in names)
    raised_last = {
        entry.event_id for entry in by_what.get("raised", ()) if entry.by in names and entry.attempt >= RETRY.attempts
    }
    dead = raised_last - done.keys()
    return ServiceAccount(
        service=service,
        owed=len(owed),
        delivered=len(began),
        processed=len(done),
        retried=sum(began.values()) - len(began),
        dead=len(dead),
        missing=tuple(sorted(owed - done.keys() - dead)),
        double=tuple(sorted(event_id for event_id, times in done.items() if times > 1)),
        stray=tuple(sorted(began.keys() - owed)),
        latency=Latency.of(_delays(by_what, names)),
    )


def _delays(by_what: Mapping[str, Sequence[Entry]], names: Set[str]) -> Iterable[float]:
    """From each first send to the first time that a processor of these workers saw the event."""
    sent: dict[str, float] = {}
    for entry in by_what.get("sent", ()):
        sent[entry.event_id] = min(entry.at, sent.get(entry.event_id, entry.at))
    for entry in by_what.get("began", ()):
        if entry.by in names and entry.attempt == 1 and entry.event_id in sent:
            yield max(entry.at - sent[entry.event_id], 0.0)


def _fault(which: Sequence[object], words: str) -> str:
    shown = ", ".join(str(one) for one in which[:3]) + (", …" if len(which) > 3 else "")
    return f"{len(which)} {words}: {shown}" if which else ""
