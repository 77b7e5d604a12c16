"""How every queue stands: what waits, what fails, how fast it goes, and who works on it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

from hippo_messenger.errors import RedisError
from hippo_messenger.observer import Observer
from hippo_messenger.queues.call import Caller
from hippo_messenger.queues.connection import Connection
from hippo_messenger.queues.layout import BROKER_QUEUE, Layout
from hippo_messenger.queues.registry import Registry

__all__ = ["Overview", "Standing", "last_minute"]

_COUNTS = 8
"""What scripts/standings.lua says of a queue before its metrics."""
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
    paused: bool
    oldest: float | None
    """For how many seconds the job that is next has waited; None if none waits."""
    completed_per_minute: float
    """Over the last sixty seconds, as BullMQ's metrics let one estimate it; 0 where they are off."""
    failed_per_minute: float
    workers: int | None
    """Workers, or brokers, that are connected; None where Redis doesn't say."""

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

    async def standings(self, *, also: Iterable[str] = ()) -> list[Standing]:
        """The broker's queue, then that of every registered service, by name.

        Args:
            also: Services whose queues are told too where they hold work or failed jobs, registered or not.

        Raises:
            RedisError: It could not be read.
        """
        registered = (await self._registry.load()).by_service
        services = sorted({*registered, *also})
        queues = [BROKER_QUEUE, *services]
        listens_to = [
            (),
            *(tuple(sorted(registered[name].listens_to)) if name in registered else () for name in services),
        ]
        keys = [key for queue in queues for key in (self._layout.presence(queue), *self._layout.queue(queue).all)]
        now, found = await self._caller.call("standings", keys, (), patience=0)
        workers = await self._workers(queues)
        counts = cast("Sequence[Sequence[object]]", found)
        standings = [
            _standing(queue, listening, cast("int", now), words, None if workers is None else workers[queue])
            for queue, listening, words in zip(queues, listens_to, counts, strict=True)
        ]
        expected = {BROKER_QUEUE, *registered}
        return [standing for standing in standings if standing.queue in expected or standing.holds_something]

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
    queue: str, listens_to: tuple[str, ...], now: int, words: Sequence[object], workers: int | None
) -> Standing:
    heard, waiting, active, delayed, completed, failed, paused, oldest = cast("Sequence[int]", words[:_COUNTS])
    metrics = cast("Sequence[bytes]", words[_COUNTS:])
    return Standing(
        queue=queue,
        listens_to=listens_to,
        last_heard=None if heard < 0 else heard / 1000,
        waiting=waiting,
        active=active,
        delayed=delayed,
        completed=completed,
        failed=failed,
        paused=bool(paused),
        oldest=None if oldest < 0 else oldest / 1000,
        completed_per_minute=last_minute(now, metrics[:4]),
        failed_per_minute=last_minute(now, metrics[4:]),
        workers=workers,
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
