"""What became of every event in every service, from what the processes wrote down. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.chaos.crew import Ending
from tests.chaos.faults import REDIS, Fault
from tests.chaos.log import Entry
from tests.chaos.roster import LISTENERS, ROSTER

__all__ = ["Account", "Repeat", "Run", "Send", "Verdict"]

SETTLING = 1.0
"""How long (s) a worker that nothing is done to may take from the effect of a job until it is settled."""
RECOVERING = 3.0
"""How long (s) after its end a fault may still be felt: connections are made anew, with growing pauses."""

_SERVICES = {part.name: part.service.value for part in ROSTER if part.service is not None}


@dataclass(slots=True)
class Send:
    """What the sender knows of one event."""

    began: float
    to_self: bool
    is_open: bool = True
    """Nothing is known of the last try: its sender was killed, or is still at it."""
    was_accepted: bool = False
    was_possibly_sent: bool = False

    @property
    def state(self) -> str:
        if self.was_accepted:
            return "accepted"
        return "possibly sent" if self.is_open or self.was_possibly_sent else "not sent"


@dataclass(slots=True)
class Run:
    """One time that a processor got an event."""

    by: str
    began: float
    job: str
    """When its copy was added, by Redis' clock: two of these are two copies."""
    starts: int
    """How often this copy was taken."""
    done: float | None = None
    has_raised: bool = False


@dataclass(frozen=True, slots=True)
class Repeat:
    """One processing that was done again, and why it had to be."""

    service: str
    event_id: str
    cause: str | None
    fault: str | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The account when all is over."""

    sends: Mapping[str, int]
    deliveries: int
    processed: int
    lost: tuple[tuple[str, str], ...]
    """Service and event: accepted, and never processed; or possibly sent, and processed elsewhere."""
    twice: tuple[tuple[str, str], ...]
    """Service and event: delivered as two copies."""
    uncalled: tuple[tuple[str, str], ...]
    """Service and event: said to be not sent, or not for that service, and processed all the same."""
    repeats: tuple[Repeat, ...]

    @property
    def unexplained(self) -> tuple[Repeat, ...]:
        return tuple(repeat for repeat in self.repeats if repeat.cause is None)


@dataclass
class Account:
    """Kept while it all goes on, entry by entry."""

    sends: dict[str, Send] = field(default_factory=dict)
    runs: dict[tuple[str, str], list[Run]] = field(default_factory=lambda: defaultdict(list))
    outstanding: set[tuple[str, str]] = field(default_factory=set)
    """Service and event: accepted and not processed yet."""
    done: int = 0
    cancelled: list[Entry] = field(default_factory=list)
    _done: set[tuple[str, str]] = field(default_factory=set)
    _lost: dict[tuple[str, str], float] = field(default_factory=dict)
    _troubles: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, entries: Iterable[Entry]) -> None:
        """Take note of what is new."""
        for entry in entries:
            if entry.what in {"began", "done", "raised", "cancelled"}:
                self._note_run(entry)
            elif entry.what == "lost":
                self._lost[entry.by, entry.event_id] = entry.at
            elif entry.what == "trouble":
                self._troubles[entry.by].append(entry.at)
            elif entry.what != "recovered":
                self._note_send(entry)

    def _note_send(self, entry: Entry) -> None:
        if entry.what == "sending":
            self.sends[entry.event_id] = Send(entry.at, entry.more == "notify")
            return
        send = self.sends[entry.event_id]
        send.is_open = entry.what == "again"
        if entry.what == "possibly":
            send.was_possibly_sent = True
        if entry.what == "accepted" and not send.was_accepted:
            send.was_accepted = True
            self.outstanding |= self._owed(entry.event_id, send) - self._done

    def _note_run(self, entry: Entry) -> None:
        key = (_SERVICES[entry.by.partition(".")[0]], entry.event_id)
        if entry.what == "began":
            starts, job = entry.more.split()
            self.runs[key].append(Run(entry.by, entry.at, job, int(starts)))
        elif entry.what == "done":
            self._last_of(key, entry).done = entry.at
            self.done += 1
            self._done.add(key)
            self.outstanding.discard(key)
        elif entry.what == "cancelled":
            self.cancelled.append(entry)
        else:
            self._last_of(key, entry).has_raised = True

    def _last_of(self, key: tuple[str, str], entry: Entry) -> Run:
        """The run that an entry is about."""
        return next(run for run in reversed(self.runs[key]) if run.by == entry.by and run.done is None)

    def _owed(self, event_id: str, send: Send) -> set[tuple[str, str]]:
        return {(service, event_id) for service in (*LISTENERS, *(("order",) if send.to_self else ()))}

    def close(self, endings: Sequence[Ending], faults: Sequence[Fault]) -> Verdict:
        """The verdict, once nothing is outstanding any more or nobody waits for it any longer."""
        owed: set[tuple[str, str]] = set()
        allowed: set[tuple[str, str]] = set()
        for event_id, send in self.sends.items():
            copies = self._owed(event_id, send)
            if send.state != "not sent":
                allowed |= copies
            if send.state == "accepted" or (send.state == "possibly sent" and copies & self._done):
                owed |= copies
        causes = _Causes(endings, faults, lost=self._lost, troubles=self._troubles)
        repeats = [
            repeat
            for (service, event_id), runs in self.runs.items()
            for repeat in _repeats(service, event_id, runs, causes)
        ]
        return Verdict(
            sends=Counter(send.state for send in self.sends.values()),
            deliveries=len(self.runs),
            processed=self.done,
            lost=tuple(sorted(owed - self._done)),
            twice=tuple(key for key, runs in self.runs.items() if _is_twice(runs)),
            uncalled=tuple(sorted(self.runs.keys() - allowed)),
            repeats=tuple(repeats),
        )


def _is_twice(runs: Sequence[Run]) -> bool:
    return len({run.job for run in runs}) > 1 or sum(run.starts == 1 for run in runs) > 1


def _repeats(service: str, event_id: str, runs: Sequence[Run], causes: _Causes) -> Iterable[Repeat]:
    """One for each processing but one; each needs a run of its own that ended before it was settled."""
    done = [run for run in runs if run.done is not None]
    if len(done) < 2:
        return
    found = [cause for run in done if (cause := causes.of(event_id, run)) is not None][: len(done) - 1]
    for why, fault in found:
        yield Repeat(service, event_id, why, fault)
    for _ in range(len(done) - 1 - len(found)):
        yield Repeat(service, event_id, None, None)


class _Causes:
    """Why a run whose effect was had may not have been settled."""

    def __init__(
        self,
        endings: Sequence[Ending],
        faults: Sequence[Fault],
        *,
        lost: Mapping[tuple[str, str], float],
        troubles: Mapping[str, Sequence[float]],
    ) -> None:
        self._endings = {ending.by: ending for ending in endings}
        self._faults = sorted(faults, key=lambda fault: fault.began)
        self._lost = lost
        self._troubles = troubles

    def of(self, event_id: str, run: Run) -> tuple[str, str | None] | None:
        """In words, and the fault that it goes back to; None where nothing speaks for it."""
        assert run.done is not None
        felt = self._felt(run.by, run.began, run.done + SETTLING)
        unsettled = self._unsettled_until(run.by, run.done)
        ending = self._endings.get(run.by)
        if ending is not None and run.done <= ending.at <= unsettled:
            if ending.how != "stopped":
                killed = self._felt(run.by, ending.at - SETTLING, ending.at, kinds="kill")
                return "its worker was killed after the effect, before settling", killed.kind if killed else None
            if felt is not None:
                return f"its worker was stopped and could not settle: {felt.kind}", felt.kind
        lost = self._lost.get((run.by, event_id))
        if lost is not None and lost >= run.began:
            took = self._felt(run.by, run.began, lost)
            return (f"its lock was lost: {took.kind}", took.kind) if took is not None else None
        if felt is not None and any(run.began <= at <= unsettled for at in self._troubles.get(run.by, ())):
            return f"the stock worker could not settle: {felt.kind}", felt.kind
        return None

    def _unsettled_until(self, by: str, done: float) -> float:
        """How long a run may stay unsettled, when it was done then: as long as one fault follows another."""
        until = done + SETTLING
        for fault in self._faults:
            if self._hits(fault, by) and fault.began <= until and fault.ended + RECOVERING > until:
                until = fault.ended + RECOVERING
        return until

    def _felt(self, by: str, since: float, until: float, *, kinds: str = "") -> Fault | None:
        """The fault of this worker, of its way to Redis or of Redis that lasted longest in that time."""
        felt = [
            fault
            for fault in self._faults
            if self._hits(fault, by)
            and fault.began <= until
            and fault.ended + RECOVERING >= since
            and fault.kind.startswith(kinds)
        ]
        return max(felt, key=lambda fault: min(fault.ended, until) - max(fault.began, since), default=None)

    @staticmethod
    def _hits(fault: Fault, by: str) -> bool:
        return by.partition(".")[0] in fault.targets or REDIS in fault.targets
