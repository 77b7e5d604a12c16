"""The registrations in Redis, which are the truth, and the presence of the services that made them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from typing import Literal, cast

from hippo_messenger.clash import Change
from hippo_messenger.errors import InvalidRegistrationError
from hippo_messenger.log import log
from hippo_messenger.queues.call import Argument, Caller
from hippo_messenger.queues.connection import Connection
from hippo_messenger.queues.layout import Layout
from hippo_messenger.registration import Maker, Registration, Registrations, scheduler_of

__all__ = ["Registry", "read_changes"]

_REMEMBERED = 24 * 3600.0
"""How long (s) an instance that was not heard of again stays in the presence of its service."""
_HELD = ("wait", "active", "prioritized", "delayed", "failed")
"""The states whose jobs somebody should do something about."""
_COUNTER_DIGITS = 15


class Registry:
    """Reads and writes the registry; every write is one atomic script call that may be repeated."""

    def __init__(self, connection: Connection, layout: Layout, *, caller: Caller) -> None:
        self._connection = connection
        self._layout = layout
        self._caller = caller
        self._keys = (layout.registry, layout.registry_counters, layout.registry_version, layout.broker.base + "id")

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
        self, registration: Registration, *, number: int, maker: Maker, patience: float | None = None
    ) -> Literal["changed", "same", "older"]:
        """Write one registration, unless one with a higher number stands there.

        Args:
            registration: What the service said.
            number: Of the registration job, by the broker queue's counter.
            maker: Whose registration it is; noted where it changes something.
            patience: As for `Caller.call`.
        """
        layout = self._layout
        keys = (*self._keys, layout.registry_changes(registration.service), layout.unregistered)
        arguments = (registration.service, registration.to_wire(), number, json.dumps(maker.to_wire()))
        reply = await self._caller.call("register", keys, arguments, patience=patience)
        return cast("Literal['changed', 'same', 'older']", cast("bytes", reply[0]).decode())

    async def is_lost(self) -> bool:
        """Whether Redis has lost the registry as a whole, or never had one."""
        return not await self._connection.execute("EXISTS", self._layout.registry_version)

    async def restore(self, known: Registrations, *, patience: float | None) -> bool:
        """Write back a registry that Redis has lost as a whole; False where it has one.

        Each service counts as unknown to its messengers until it has registered by itself, since this may be old.
        """
        keys = (self._layout.registry, self._layout.registry_version)
        words = [word for name, entry in known.by_service.items() for word in (name, entry.to_wire())]
        return bool((await self._caller.call("remember", keys, words, patience=patience))[0])

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

    async def changes(self, service: str) -> list[Change]:
        """The last registrations that changed a service's entry, the newest first."""
        noted = await self._connection.execute("LRANGE", self._layout.registry_changes(service), 0, -1)
        return read_changes(cast("Sequence[bytes]", noted))

    async def backlogs(self, registrations: Registrations, *, lasting: float, patience: float | None) -> dict[str, int]:
        """How many jobs wait for each service that has a limit; senders are refused for so many seconds where they ask.

        Args:
            registrations: Say the limits, and what each service listens to.
            lasting: Seconds.
            patience: As for `Caller.call`.
        """
        keys = [self._layout.full]
        arguments: list[Argument] = [round(lasting * 1000)]
        for service, limit in registrations.limits.items():
            base = self._layout.queue(service).base
            keys += (base + "wait", base + "prioritized", base + "delayed")
            listens_to = registrations.by_service[service].listens_to if limit.when_full == "refuse" else ()
            arguments += (service, limit.jobs, len(listens_to), *sorted(listens_to))
        waiting = await self._caller.call("backlogs", keys, arguments, patience=patience)
        return dict(zip(registrations.limits, cast("list[int]", waiting), strict=True))

    async def note_presence(
        self, service: str, instance: str, *, patience: float | None
    ) -> Literal["known", "lost", "unregistered"]:
        """Say that an instance is there, and learn whether the registry knows its service, and by its own word.

        `lost` is what somebody should register again, `unregistered` what was taken out on purpose.
        """
        layout = self._layout
        keys = (layout.presence(service), layout.registry, layout.unregistered, layout.registry_counters)
        arguments = (service, instance, round(_REMEMBERED * 1000))
        reply = await self._caller.call("presence", keys, arguments, patience=patience)
        return cast("Literal['known', 'lost', 'unregistered']", cast("bytes", reply[0]).decode())

    async def unregistered(self) -> list[str]:
        """The services that were taken out on purpose and have not registered since."""
        names = cast("Sequence[bytes]", await self._connection.execute("HKEYS", self._layout.unregistered))
        return sorted(name.decode(errors="replace") for name in names)

    async def left_behind(self) -> list[str]:
        """The unregistered services whose queues still hold jobs, dead letters among them."""
        left = []
        for name in await self.unregistered():
            base = self._layout.queue(name).base
            if await self._connection.execute("EXISTS", *(base + state for state in _HELD)):
                left.append(name)
        return left

    async def instances(self, service: str, *, within: float) -> int:
        """How many messengers of a service were heard of within so many seconds."""
        seconds, _ = cast("Sequence[bytes]", await self._connection.execute("TIME", beside=self._layout.registry))
        since = (int(seconds) - within) * 1000
        return cast("int", await self._connection.execute("ZCOUNT", self._layout.presence(service), since, "+inf"))

    async def remove(self, service: str, *, events_stream: bool) -> bool:
        """Take one service out, with its repeat job and its presence; False if it was not there.

        Its queue stays as it is. Its messengers that still run take note, and don't register it again by themselves.
        """
        layout = self._layout
        own = (layout.presence(service), layout.registry_changes(service), layout.unregistered)
        of_broker = (layout.broker.scheduler, layout.broker.base + "delayed", layout.broker.base + "events")
        arguments = (service, scheduler_of(service), int(events_stream))
        reply = await self._caller.call("unregister", (*self._keys, *own, *of_broker), arguments, patience=0)
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


def read_changes(noted: Sequence[bytes]) -> list[Change]:
    """Changes as scripts/register.lua notes them; what can't be read is left out."""
    found = []
    for raw in noted:
        time_and_maker, _, registration = raw.partition(b"\n")
        when, _, maker = time_and_maker.partition(b" ")
        try:
            found.append(Change(int(when) / 1000, Maker.from_wire(maker), Registration.from_wire(registration)))
        except (InvalidRegistrationError, ValueError, RecursionError):
            continue
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
            log.error(
                "the registry entry of %s can't be read (%s); until its service registers again it gets no events",
                service.decode(errors="replace"),
                error,
            )
    return registrations
