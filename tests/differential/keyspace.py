"""The whole key space under one prefix as plain values, without what can't be equal: clocks, lock tokens, ids."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from typing import Any

from redis import Redis

__all__ = ["KeySpace", "key_space"]

KeySpace = dict[str, Any]
"""Key without prefix -> its value; a volatile key's value stands in a tuple."""

_TIMES = {"timestamp", "processedOn", "finishedOn", "prevTS"}
_STEP = 10_000
"""Delays of scenarios are multiples of this (ms), and a scenario takes less."""


def key_space(client: Redis, prefix: str, *, since: float) -> KeySpace:
    """What stands under the prefix; `since` is when the scenario began."""
    reader = _Reader(client, prefix, since)
    keys = sorted(client.scan_iter(f"{_escaped(prefix)}:*", count=1000))
    return {key.removeprefix(f"{prefix}:"): reader.read(key) for key in keys}


class _Reader:
    def __init__(self, client: Redis, prefix: str, since: float) -> None:
        self._client: Any = client  # its types allow for bytes and clusters
        self._prefix = prefix
        self._since = since

    def read(self, key: str) -> Any:
        value = self._value(key, str(self._client.type(key)))
        return (value,) if self._client.pttl(key) != -1 else value

    def _value(self, key: str, kind: str) -> Any:
        client = self._client
        if kind == "hash":
            return {self._plain(name): self._field(name, value) for name, value in client.hgetall(key).items()}
        if kind == "stream":
            return [{n: self._field(n, v) for n, v in fields.items()} for _, fields in client.xrange(key)]
        if kind == "zset":
            return self._scored(key.rpartition(":")[2], client.zrange(key, 0, -1, withscores=True))
        if kind == "list":
            return client.lrange(key, 0, -1)
        if kind == "set":
            return sorted(self._plain(member) for member in client.smembers(key))
        assert kind == "string", kind
        value = str(client.get(key))
        if key.endswith(":lock"):
            return "<token>"
        return self._time(int(value)) if key.endswith("stalled-check") else self._plain(value)

    def _field(self, name: str, value: str) -> Any:
        if name in _TIMES or (name == "delay" and len(value) > 10):
            return self._time(float(value))
        return json.loads(value) if name == "opts" else self._plain(value)

    def _scored(self, name: str, members: Sequence[tuple[str, float]]) -> Any:
        plain = [(self._plain(member), score) for member, score in members]
        if name == "delayed":
            return [(member, self._time(score / 0x1000)) for member, score in plain]
        if name in ("completed", "failed", "waiting-children", "unsuccessful"):
            return sorted((member, self._time(score)) for member, score in plain)
        if name == "marker":
            return {member: self._time(score) if score else 0 for member, score in plain}
        return plain

    def _time(self, milliseconds: float) -> str:
        """When, counted from the beginning of the scenario."""
        since = milliseconds - self._since * 1000
        assert since < 1e9, f"{milliseconds} is no time near the test's: {time.time()}"
        return f"+{int((since + 1000) // _STEP) * _STEP // 1000}s"

    def _plain(self, value: str) -> str:
        return value.replace(self._prefix, "{prefix}")


def _escaped(prefix: str) -> str:
    return re.sub(r"([\[\]*?\\])", r"\\\1", prefix)
