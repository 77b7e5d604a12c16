"""The registrations in Redis, which are the truth, and the presence of the services that made them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from hippo_messenger.errors import InvalidRegistrationError
from hippo_messenger.queues.call import Caller
from hippo_messenger.queues.connection import Connection
from hippo_messenger.queues.layout import BROKER_QUEUE, Layout
from hippo_messenger.registration import Registration, Registrations

__all__ = ["Registry", "Standing"]

_REMEMBERED = 24 * 3600.0
"""How long (s) an instance that was not heard of again stays in the presence of its service."""

_log = logging.getLogger("hippo_messenger")


@dataclass(frozen=True, slots=True)
class Standing:
    """One queue at a moment."""

    queue: str
    listens_to: tuple[str, ...]
    last_heard: float | None
    """How many seconds ago its service said that it is there."""
    waiting: int
    active: int
    delayed: int
    completed: int
    failed: int


class Registry:
    """Reads and writes the registry; every write is one atomic script call that may be repeated."""

    def __init__(self, connection: Connection, layout: Layout, *, caller: Caller) -> None:
        self._connection = connection
        self._layout = layout
        self._caller = caller

    async def load(self) -> Registrations:
        """Every registration, at one version. An entry that can't be read is left out, and said."""
        keys = (self._layout.registry, self._layout.registry_version)
        version, entries = await self._caller.call("registrations", keys, (), patience=0)
        flat = cast("Sequence[bytes]", entries)
        return Registrations(_readable(zip(flat[::2], flat[1::2], strict=True)), version=cast("int", version))

    async def write(
        self, registration: Registration, *, number: int, patience: float | None = None
    ) -> Literal["changed", "same", "older"]:
        """Write one registration, unless one with a higher number stands there.

        Args:
            registration: What the service said.
            number: Of the registration job, by the broker queue's counter.
            patience: As for `Caller.call`.
        """
        layout = self._layout
        keys = (layout.registry, layout.registry_counters, layout.registry_version, layout.broker.base + "id")
        arguments = (registration.service, registration.to_wire(), number)
        reply = await self._caller.call("register", keys, arguments, patience=patience)
        return cast("Literal['changed', 'same', 'older']", cast("bytes", reply[0]).decode())

    async def progress(self, service: str, *, number: int) -> Literal["queued", "live"] | str:
        """What became of the registration job with this number: `queued`, `live`, or the reason why it failed."""
        known = await self._connection.execute("HGET", self._layout.registry_counters, service)
        outcome = await self._connection.execute(
            "HMGET", self._layout.broker.job(str(number)), "failedReason", "finishedOn"
        )
        reason, finished = cast("Sequence[bytes | None]", outcome)
        if reason is not None and finished is not None:
            return reason.decode(errors="replace")
        if (known is not None and int(cast("bytes", known)) >= number) or finished is not None:
            return "live"
        return "queued"

    async def note_presence(self, service: str, instance: str, *, patience: float | None) -> bool:
        """Say that an instance is there; False when the registry doesn't know its service."""
        keys = (self._layout.presence(service), self._layout.registry)
        arguments = (service, instance, round(_REMEMBERED * 1000))
        return bool((await self._caller.call("presence", keys, arguments, patience=patience))[0])

    async def standings(self) -> list[Standing]:
        """How every registered service stands, by name, and the broker's queue before them."""
        registered = sorted((await self.load()).by_service.items())
        queues = [BROKER_QUEUE, *(service for service, _ in registered)]
        keys = [key for queue in queues for key in (self._layout.presence(queue), *self._layout.queue(queue).all)]
        (found,) = await self._caller.call("standings", keys, (), patience=0)
        listens_to = [(), *(tuple(sorted(entry.listens_to)) for _, entry in registered)]
        return [
            Standing(queue, listening, None if heard < 0 else heard / 1000, *counts)
            for queue, listening, (heard, *counts) in zip(
                queues, listens_to, cast("Sequence[Sequence[int]]", found), strict=True
            )
        ]


def _readable(entries: Iterable[tuple[bytes, bytes]]) -> list[Registration]:
    registrations = []
    for service, raw in entries:
        try:
            registrations.append(Registration.from_wire(raw))
        except InvalidRegistrationError as error:
            _log.error(
                "the registry entry of %s can't be read (%s); until its service registers again it gets no events",
                service.decode(errors="replace"),
                error,
            )
    return registrations
