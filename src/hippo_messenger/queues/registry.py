"""The registrations in Redis, which are the truth, and the presence of the services that made them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Literal, cast

from hippo_messenger.errors import InvalidRegistrationError
from hippo_messenger.queues.call import Caller
from hippo_messenger.queues.connection import Connection
from hippo_messenger.queues.layout import Layout
from hippo_messenger.registration import Registration, Registrations

__all__ = ["Registry"]

_REMEMBERED = 24 * 3600.0
"""How long (s) an instance that was not heard of again stays in the presence of its service."""

_log = logging.getLogger("hippo_messenger")


class Registry:
    """Reads and writes the registry; every write is one atomic script call that may be repeated."""

    def __init__(self, connection: Connection, layout: Layout, *, caller: Caller) -> None:
        self._connection = connection
        self._layout = layout
        self._caller = caller

    async def load(self) -> Registrations:
        """Every registration, at one version. An entry that can't be read is left out, and said."""
        commands = [("GET", self._layout.registry_version), ("HGETALL", self._layout.registry)]
        version, entries = await self._connection.pipeline(commands, transaction=True)
        return Registrations(
            _readable(cast("Mapping[bytes, bytes]", entries)), version=int(cast("bytes", version or b"0"))
        )

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
        commands = [
            ("HGET", self._layout.registry_counters, service),
            ("HMGET", self._layout.broker.job(str(number)), "failedReason", "finishedOn"),
        ]
        known, outcome = await self._connection.pipeline(commands)
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

    async def last_heard(self, services: Sequence[str]) -> dict[str, tuple[float, ...]]:
        """For each service how many seconds ago each of its instances was heard of, the latest first."""
        commands: list[tuple[str, ...]] = [("TIME",)]
        commands += [("ZRANGE", self._layout.presence(service), "0", "-1", "REV", "WITHSCORES") for service in services]
        time, *heard = await self._connection.pipeline(commands)
        seconds, microseconds = cast("Sequence[bytes | int]", time)
        now = int(seconds) + int(microseconds) / 1e6
        return {
            service: tuple(max(now - score / 1000, 0.0) for score in _scores(entries))
            for service, entries in zip(services, heard, strict=True)
        }


def _readable(entries: Mapping[bytes, bytes]) -> list[Registration]:
    registrations = []
    for service, raw in entries.items():
        try:
            registrations.append(Registration.from_wire(raw))
        except InvalidRegistrationError as error:
            _log.error(
                "the registry entry of %s can't be read (%s); until its service registers again it gets no events",
                service.decode(errors="replace"),
                error,
            )
    return registrations


def _scores(entries: object) -> list[float]:
    """The scores of ZRANGE … WITHSCORES, raw (alternating) or already paired by the client."""
    flat = cast("Sequence[object]", entries)
    if flat and isinstance(flat[0], list | tuple):
        return [float(cast("bytes", pair[1])) for pair in cast("Sequence[Sequence[object]]", flat)]
    return [float(cast("bytes", score)) for score in flat[1::2]]
