"""How every queue stands: what waits, what fails, how fast it goes, and who works on it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from hippo_messenger.backlog import BacklogLimit
from hippo_messenger.clash import Clash, find_clash
from hippo_messenger.errors import RedisError
from hippo_messenger.limits import WorkLimits
from hippo_messenger.observer import Observer
from hippo_messenger.queues.call import Caller
from hippo_messenger.queues.connection import Connection
from hippo_messenger.queues.layout import BROKER_QUEUE, Layout
from hippo_messenger.queues.open_breakers import OpenBreakers
from hippo_messenger.queues.registry import Registry, read_changes
from hippo_messenger.queues.throttle import read_limits
from hippo_messenger.registration import Registration

__all__ = ["Overview", "Standing", "last_minute"]

_COUNTS, _METRICS, _LIMITS = 9, 8, 3
"""What scripts/standings.lua says of a queue, in this order, before the changes of its registration."""
_CLIENT_NAME = re.compile(rb" name=(\S+)(?!.* cmd=cluster)")
"""Without the connection by which a cluster's client has only asked where things are."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One queue at a moment."""

    queue: str
    listens_to: tuple[str, ...]
    last_heard: float | None
    """How many seconds ago its service said that it is there; None if it never did."""
    waiting: int
    active: int
    delayed: int
    completed: int
    failed: int
    """Dead letters, so without the records of rejected events."""
    rejected: int
    """Records of events that were turned away at `send`; they are capped, and nobody has to do something about them."""
    paused: bool
    oldest: float | None
    """For how many seconds the job that is next has waited; None if none waits."""
    completed_per_minute: float
    """Over the last sixty seconds, as BullMQ's metrics let one estimate it; 0 where they are off."""
    failed_per_minute: float
    workers: int | None
    """Workers, or brokers, that are connected; None where Redis doesn't say."""
    limits: WorkLimits
    """What its workers may do together."""
    backlog: BacklogLimit | None
    """How many jobs may wait for the service, as it asked."""
    clash: Clash | None
    """Set where two deployments register the service in turn."""
    slowed: int = 0
    """Workers whose breaker is open: their processor fails everything, and they try one job at a time."""

    @property
    def is_full(self) -> bool:
        """As many jobs wait as the service takes."""
        return self.backlog is not None and self.waiting + self.delayed >= self.backlog.jobs

    @property
    def holds_something(self) -> bool:
        """Whether there are jobs that somebody should do something about."""
        return self.waiting + self.active + self.delayed + self.failed > 0


class Overview:
    """Looks at every queue under one prefix; changes nothing."""

    def __init__(self, connection: Connection, layout: Layout) -> None:
        caller = Caller(connection, observer=Observer())
        self._connection = connection
        self._layout = layout
        self._caller = caller
        self._registry = Registry(connection, layout, caller=caller)
        self._open_breakers = OpenBreakers(caller, layout)

    async def standings(self, *, also: Iterable[str] | None = None) -> list[Standing]:
        """The broker's queue, then that of every registered service, by name.

        Args:
            also: Services whose queues are told too where they hold work or dead letters, registered or not; with
                them those of services that were unregistered. Left out, none but the registered ones.

        Raises:
            RedisError: It could not be read.
        """
        registered = (await self._registry.load()).by_service
        others = () if also is None else (*also, *await self._registry.left_behind())
        wanted: dict[str, Registration | None] = {BROKER_QUEUE: None}
        wanted |= {service: registered.get(service) for service in sorted({*registered, *others})}
        expected = {BROKER_QUEUE, *registered}
        return [
            standing
            for standing in await self._standings(wanted)
            if standing.queue in expected or standing.holds_something
        ]

    async def standing(self, queue: str) -> Standing:
        """How one queue stands, be its service registered or not.

        Raises:
            RedisError: It could not be read.
        """
        (found,) = await self._standings({queue: (await self._registry.load()).by_service.get(queue)})
        return found

    async def _standings(self, registered: Mapping[str, Registration | None]) -> list[Standing]:
        queues = list(registered)
        keys = [key for queue in queues for key in self._keys(queue)]
        now, found = await self._caller.call("standings", keys, (), patience=0)
        workers, slowed = await self._workers(queues), await self._open_breakers.count(queues)
        counts = cast("Sequence[Sequence[object]]", found)
        return [
            _standing(queue, entry, cast("int", now), words, None if workers is None else workers[queue], slowed[queue])
            for (queue, entry), words in zip(registered.items(), counts, strict=True)
        ]

    def _keys(self, queue: str) -> tuple[str, ...]:
        layout = self._layout
        own = (layout.presence(queue), layout.registry_changes(queue), layout.rejected(queue))
        return *own, *layout.queue(queue).all

    async def _workers(self, queues: Sequence[str]) -> Counter[str] | None:
        """How many workers each queue has, found by the names of their connections as BullMQ's getWorkers does."""
        try:
            listed = await self._connection.execute("CLIENT", "LIST", beside=self._layout.registry)
        except RedisError:  # its user may not ask
            return None
        if not isinstance(listed, bytes):
            return None
        names = Counter(
            match[1].decode(errors="replace").partition(":w:")[0] for match in _CLIENT_NAME.finditer(listed)
        )
        return Counter({queue: names[self._layout.queue(queue).worker_client_name] for queue in queues})


def _standing(
    queue: str, entry: Registration | None, now: int, words: Sequence[object], workers: int | None, slowed: int
) -> Standing:
    heard, waiting, active, delayed, completed, failed, rejected, paused, oldest = cast(
        "Sequence[int]", words[:_COUNTS]
    )
    metrics = cast("Sequence[bytes]", words[_COUNTS : _COUNTS + _METRICS])
    *limits, changes = words[_COUNTS + _METRICS :]
    return Standing(
        queue=queue,
        listens_to=() if entry is None else tuple(sorted(entry.listens_to)),
        last_heard=None if heard < 0 else heard / 1000,
        waiting=waiting,
        active=active,
        delayed=delayed,
        completed=completed,
        failed=failed - rejected,
        rejected=rejected,
        paused=bool(paused),
        oldest=None if oldest < 0 else oldest / 1000,
        completed_per_minute=last_minute(now, metrics[:4]),
        failed_per_minute=last_minute(now, metrics[4:]),
        workers=workers,
        backlog=None if entry is None else entry.backlog,
        limits=read_limits(cast("Sequence[bytes]", limits)),
        clash=find_clash(read_changes(cast("Sequence[bytes]", changes)), now=now / 1000),
        slowed=slowed,
    )


def last_minute(now: int, metrics: Sequence[bytes]) -> float:
    """How many jobs finished in the last sixty seconds: this minute's, and of the one before as much as is within."""
    if not all(word.isdigit() for word in metrics[:3]):
        return 0.0
    count, since, before = (int(word) for word in metrics[:3])
    newest = int(metrics[3]) if metrics[3].isdigit() else 0
    minutes, left = now // 60_000 - since // 60_000, 1 - now % 60_000 / 60_000
    if minutes == 0:
        return count - before + newest * left
    return (count - before) * left if minutes == 1 else 0.0
