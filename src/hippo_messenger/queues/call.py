"""One script call, repeated until its reply has come: every script is safe to repeat."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import cast

from hippo_messenger.backoff import Backoff
from hippo_messenger.errors import (
    LayoutTooNewError,
    QueueCorruptedError,
    RedisCommandError,
    RedisError,
    RedisReadOnlyError,
    RedisUnavailableError,
)
from hippo_messenger.log import log
from hippo_messenger.observer import Observer
from hippo_messenger.queues.connection import Connection
from hippo_messenger.queues.script import load_script

__all__ = ["PASSING", "Argument", "Caller"]

Argument = str | bytes | int | float

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.8
PASSING = (RedisUnavailableError, RedisReadOnlyError)
"""What may pass by itself within a call's time: an outage, and the moment between two primaries."""


class Caller:
    """Calls scripts over one connection."""

    def __init__(self, connection: Connection, *, observer: Observer) -> None:
        self._connection = connection
        self._observer = observer

    async def call(
        self,
        name: str,
        keys: Sequence[str | bytes],
        arguments: Sequence[Argument],
        *,
        patience: float | None,
        on_departure: Callable[[], None] | None = None,
        on_refusal: Callable[[RedisError], None] | None = None,
    ) -> list[object]:
        """The reply of one script, without its leading status.

        The first argument that the script gets says whether this is a repeat of a call whose reply was lost.

        Args:
            name: The script's file, without `.lua`.
            keys: What the script declares as KEYS.
            arguments: What it declares as ARGV, but the first.
            patience: Seconds for which a broken connection is mended and the call repeated; None is for ever, and
                then whatever else Redis answers is waited out too. Pauses grow from 50 ms to 0.8 s, with jitter.
            on_departure: Called right before it goes out, at each try. What it raises keeps it in, and ends the call.
            on_refusal: Called with the error of a try, for as long as it is certain that none so far has worked.

        Raises:
            LayoutTooNewError: A newer version of this package keeps the queues; that is never waited out.
            RedisError: The call failed for good. `maybe_executed` says whether some try of it may have worked.
        """
        loop = asyncio.get_running_loop()
        deadline = None if patience is None else loop.time() + patience
        script = load_script(name)
        maybe_executed = False
        backoff = Backoff(first=_FIRST_PAUSE, longest=_LONGEST_PAUSE)
        while True:
            try:
                again = b"1" if maybe_executed else b"0"
                return _checked(
                    await self._connection.script(script, keys, [again, *arguments], on_departure=on_departure)
                )
            except RedisError as error:
                maybe_executed = maybe_executed or error.maybe_executed
                error.maybe_executed = maybe_executed
                if on_refusal is not None and not maybe_executed:
                    on_refusal(error)
                if isinstance(error, LayoutTooNewError):
                    log.error("%s: %s", name, error)
                    raise
                pause = backoff.next()
                if deadline is not None and (not isinstance(error, PASSING) or loop.time() + pause >= deadline):
                    raise
                self._observer.trouble(error)
                log.warning("%s: %s; trying again", name, error)
            await asyncio.sleep(pause)


def _checked(reply: object) -> list[object]:
    if not isinstance(reply, list) or not reply:
        error = RedisCommandError(f"expected a status and a result of the script, got {reply!r:.80}")
        error.maybe_executed = True  # whatever has garbled the reply, the script may have worked
        raise error
    status, *rest = cast("list[object]", reply)
    if status == b"corrupt":
        raise QueueCorruptedError(f"{cast('bytes', rest[0]).decode(errors='replace')}; nothing was changed")
    if status == b"newer":
        raise LayoutTooNewError(
            f"expected layout {rest[1]} under this prefix, got {rest[0]}: a newer hippo-service-messenger keeps these "
            "queues; update this one. Nothing was changed"
        )
    if status == b"stale":
        return [status, *rest]
    return rest
