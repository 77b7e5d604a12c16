"""Taking a service out for good: out of the registry, and what becomes of the jobs in its queue."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from math import isfinite
from typing import Literal, cast

from hippo_messenger.errors import ConfigurationError
from hippo_messenger.queues.call import Caller
from hippo_messenger.queues.layout import Layout
from hippo_messenger.queues.registry import Registry
from hippo_messenger.settings import Settings

__all__ = ["JobsOfRemoved", "Removal", "Removed", "check_removal"]

JobsOfRemoved = Literal["keep", "drain", "discard"]
"""What becomes of the jobs of a service that is unregistered."""

_CHOICES = ("keep", "drain", "discard")
_AT_A_TIME = 200
"""How many jobs one call removes: each may hold an event of the largest size."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 0.5


@dataclass(frozen=True, slots=True)
class Removed:
    """What became of a service that was unregistered."""

    service: str
    was_registered: bool
    is_gone: bool = False
    """Nothing of its queue is left."""
    discarded: int = 0
    """Jobs that were removed undone: waiting, delayed, and dead letters."""
    waiting: int = 0
    """Jobs that are left, delayed ones among them."""
    active: int = 0
    """Jobs that are left in a worker's hand."""
    dead_letters: int = 0
    """Dead letters that are left."""
    registered_again: bool = False
    """The service has registered meanwhile, so its queue was left alone."""

    @property
    def left(self) -> int:
        """How many jobs are left in its queue."""
        return self.waiting + self.active + self.dead_letters


def check_removal(jobs: str, timeout: float) -> None:
    """Raises:
    ConfigurationError: It is no choice of what becomes of jobs, or no time (s) to wait for them.
    """
    if jobs not in _CHOICES:
        raise ConfigurationError(f"expected jobs to be one of {', '.join(_CHOICES)}, got {jobs!r}")
    if not (isfinite(timeout) and timeout >= 0):
        raise ConfigurationError(f"expected a timeout of 0 or more seconds, got {timeout!r}")


class Removal:
    """Unregisters services; every step is one atomic call that may be repeated."""

    def __init__(self, registry: Registry, layout: Layout, *, caller: Caller, settings: Settings) -> None:
        self._registry = registry
        self._layout = layout
        self._caller = caller
        self._settings = settings

    async def unregister(self, service: str, *, jobs: JobsOfRemoved, timeout: float) -> Removed:
        """Take a service out of the registry, then deal with its jobs; see `HippoMessenger.unregister`.

        Raises:
            ConfigurationError: `jobs` is none of the choices, or `timeout` no time; nothing was done.
            RedisError: It could not be done; repeating it goes on where it stopped.
        """
        check_removal(jobs, timeout)
        events_stream = self._settings.events_stream
        was_registered = await self._registry.remove(service, events_stream=events_stream)
        removed = Removed(service, was_registered)
        if jobs == "keep":
            return await self._look(removed)
        return await self._sweep(removed, everything=jobs == "discard", timeout=timeout)

    async def _look(self, removed: Removed) -> Removed:
        """How many jobs are left; a sweep that may remove none only counts."""
        _, found = await self._call(removed, everything=True, count=0)
        return found

    async def _sweep(self, removed: Removed, *, everything: bool, timeout: float) -> Removed:
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + timeout, _FIRST_PAUSE
        while True:
            state, removed = await self._call(removed, everything=everything, count=_AT_A_TIME)
            if state == "more":
                continue
            nothing_runs = removed.waiting == removed.active == 0
            if state in ("gone", "registered") or nothing_runs or loop.time() + pause > deadline:
                return removed
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)

    async def _call(self, removed: Removed, *, everything: bool, count: int) -> tuple[str, Removed]:
        queue = self._layout.queue(removed.service)
        metrics = [queue.base + f"metrics:{kind}{part}" for kind in ("completed", "failed") for part in ("", ":data")]
        layout, service = self._layout, removed.service
        keys = (*queue.all, queue.stalled_check, layout.rejected(service), *metrics)
        keys += (layout.redrive(service), layout.discarded(service), layout.registry)
        mode = "all" if everything else "drained"
        arguments = (int(self._settings.events_stream), removed.service, mode, count)
        reply = await self._caller.call("sweep", keys, arguments, patience=self._settings.call_timeout)
        state = cast("bytes", reply[0]).decode()
        discarded, waiting, active, failed = cast("list[int]", reply[1:])
        found = replace(
            removed,
            is_gone=state == "gone",
            discarded=removed.discarded + discarded,
            waiting=waiting,
            active=active,
            dead_letters=failed,
            registered_again=state == "registered",
        )
        return state, found
