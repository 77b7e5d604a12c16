"""The registrations in Redis, which are the truth, and the presence of the services that made them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from typing import Literal, cast

from hippo_messenger.errors import InvalidRegistrationError
from hippo_messenger.queues.call import Caller
from hippo_messenger.queues.connection import Connection
from hippo_messenger.queues.layout import Layout
from hippo_messenger.registration import Registration, Registrations

__all__ = ["Registry"]

_REMEMBERED = 24 * 3600.0
"""How long (s) an instance that was not heard of again stays in the presence of its service."""

_COUNTER_DIGITS = 15

_log = logging.getLogger("hippo_messenger")


class Registry:
    """Reads and writes the registry; every write is one atomic script call that may be repeated."""

    def __init__(self, connection: Connection, layout: Layout, *, caller: Caller) -> None:
        self._connection = connection
        self._layout = layout
        self._caller = caller

    async def load(self, *, patience: float | None = 0) -> Registrations:
        """Every registration, at one version. An entry that can't be read is left out, and said.

        Args:
            patience: As for `Caller.call`.
        """
        keys = (self._layout.registry, self._layout.registry_version)
        version, entries = await self._caller.call("registrations", keys, (), patience=patience)
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
        known = await self.number(service)
        outcome = await self._connection.execute(
            "HMGET", self._layout.broker.job(str(number)), "failedReason", "finishedOn"
        )
        reason, finished = cast("Sequence[bytes | None]", outcome)
        if reason is not None and finished is not None:
            return reason.decode(errors="replace")
        return "live" if known >= number or finished is not None else "queued"

    async def number(self, service: str) -> int:
        """Of the registration job that wrote a service's entry; 0 where that is lost."""
        known = await self._connection.execute("HGET", self._layout.registry_counters, service)
        counted = cast("bytes | None", known) or b""
        return int(counted) if counted.isdigit() and len(counted) <= _COUNTER_DIGITS else 0

    async def note_presence(self, service: str, instance: str, *, patience: float | None) -> bool:
        """Say that an instance is there; False when the registry doesn't know its service."""
        keys = (self._layout.presence(service), self._layout.registry)
        arguments = (service, instance, round(_REMEMBERED * 1000))
        return bool((await self._caller.call("presence", keys, arguments, patience=patience))[0])

    async def remove(self, service: str) -> bool:
        """Take one service out, and forget its presence; False if it was not there. Its queue stays as it is."""
        layout = self._layout
        keys = (layout.registry, layout.registry_counters, layout.registry_version, layout.broker.base + "id")
        reply = await self._caller.call("unregister", (*keys, layout.presence(service)), (service,), patience=0)
        return bool(reply[0])

    async def note_senders(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Note that these event types were sent by these services just now."""
        now = round(time.time() * 1000)
        words = [word for event_type, service in pairs for word in (f"{event_type}|{service}", now)]
        await self._connection.execute("HSET", self._layout.senders, *words)

    async def senders(self) -> dict[str, dict[str, float]]:
        """Event type -> who sent it, and when last (seconds since 1970), as the brokers noted it to the minute."""
        flat = cast("Sequence[bytes]", await self._connection.execute("HGETALL", self._layout.senders))
        found: dict[str, dict[str, float]] = {}
        for pair, when in zip(flat[::2], flat[1::2], strict=True):
            event_type, _, service = pair.decode(errors="replace").partition("|")
            if when.isdigit():
                found.setdefault(event_type, {})[service] = int(when) / 1000
        return found


def _readable(entries: Iterable[tuple[bytes, bytes]]) -> list[Registration]:
    registrations = []
    for service, raw in entries:
        try:
            registration = Registration.from_wire(raw)
            if registration.service.encode() != service:
                raise InvalidRegistrationError(f"expected its own registration, got that of {registration.service}")
            registrations.append(registration)
        except InvalidRegistrationError as error:
            _log.error(
                "the registry entry of %s can't be read (%s); until its service registers again it gets no events",
                service.decode(errors="replace"),
                error,
            )
    return registrations
