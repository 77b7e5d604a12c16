"""Records of events that were turned away at `send`: failed jobs that are only there to be looked at."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from uuid import uuid4

from pydantic_core import to_json

from hippo_messenger.errors import RedisTimeoutError
from hippo_messenger.queues.call import Caller
from hippo_messenger.queues.layout import Layout
from hippo_messenger.settings import Settings

__all__ = ["Rejections"]

_REASON_LENGTH = 2048
_PATIENCE = 1.0
"""How long (s) a record may hold up the error that `send` is about to raise."""


class Rejections:
    """Writes rejected events into the failed jobs of the broker queue, and of the sender's own."""

    def __init__(self, caller: Caller, layout: Layout, *, settings: Settings) -> None:
        self._caller = caller
        self._layout = layout
        self._settings = settings

    async def record(self, *, event_type: str, origin: str, data: object, reason: str, own_queue_too: bool) -> None:
        """Record one rejected event, best effort; secret fields must be masked already.

        Raises:
            RedisError: It could not be recorded.
        """
        job_id = f"rejected-{uuid4().hex}"
        record = {"source": origin, "type": event_type, "data": data}
        text = _as_json(record) or _as_json(record | {"data": "not shown: no JSON could be made of it"})
        for queue in ("broker", origin) if own_queue_too else ("broker",):
            keys = (*self._layout.queue(queue).all, self._layout.rejected(queue))
            arguments = (
                int(self._settings.events_stream),
                self._settings.rejected_count,
                job_id,
                event_type,
                _shortened(text, self._settings.rejected_bytes),
                reason[:_REASON_LENGTH].encode(errors="backslashreplace"),
            )
            try:
                async with asyncio.timeout(_PATIENCE):  # a single try may take longer than its patience
                    await self._caller.call("reject", keys, arguments, patience=_PATIENCE)
            except TimeoutError:
                raise RedisTimeoutError(f"Redis gave no answer within {_PATIENCE:g} s") from None


def _as_json(record: Mapping[str, object]) -> bytes:
    """Tools parse what they show: what JSON has no word for becomes a string. Empty where there is no JSON at all."""
    try:
        return to_json(record, inf_nan_mode="strings", fallback=repr)
    except (ValueError, RecursionError):  # it contains itself, is too deep, or has text that is none
        return b""


def _shortened(text: bytes, limit: int) -> bytes:
    if len(text) <= limit:
        return text
    return to_json({"shortened": text[: limit // 2].decode(errors="replace")})
