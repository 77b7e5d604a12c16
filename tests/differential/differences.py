"""Where we differ from BullMQ on purpose: docs/decisions/0005-differences-from-bullmq.md has each with its reason.

This is the only place where the differential test forgives anything; numbers are those of the list there.
"""

from __future__ import annotations

from tests.differential.keyspace import KeySpace

__all__ = ["without_known_differences"]


OURS_ALONE = ("redrive:", "discarded:")
"""How keys begin that no queue has."""


def without_known_differences(stock: KeySpace, ours: KeySpace) -> tuple[KeySpace, KeySpace]:
    """Both key spaces, with what the list allows made equal."""
    stock = dict(stock)
    ours = {key: _without_history(value) for key, value in ours.items() if not key.startswith(OURS_ALONE)}
    for key in [key for key in {**stock, **ours} if key.endswith(":marker")]:
        base = key.removesuffix("marker")
        stock[key], ours[key] = _without_idle_marker(base, stock), _without_idle_marker(base, ours)
        _forgive_delay_marker(stock[key], ours[key])
        if "concurrency" in ours.get(f"{base}meta", {}):
            _forgive_freed_place(stock[key], ours[key])
    return stock, ours


def _without_history(value: object) -> object:
    """23: a job that was redriven says how it had failed."""
    return {name: word for name, word in value.items() if name != "history"} if isinstance(value, dict) else value


def _without_idle_marker(base: str, space: KeySpace) -> dict[str, object]:
    """1: where nothing may be taken, the marker of waiting jobs may be there or not."""
    marker = dict(space.get(f"{base}marker", {}))
    if not (space.get(f"{base}wait") or space.get(f"{base}prioritized")):
        marker.pop("0", None)
    return marker


def _forgive_freed_place(stock: dict[str, object], ours: dict[str, object]) -> None:
    """3: ours says that a job waits also where a place was freed for it under a global concurrency."""
    if "0" in ours:
        stock.setdefault("0", ours["0"])


def _forgive_delay_marker(stock: dict[str, object], ours: dict[str, object]) -> None:
    """2: ours says when the next delayed job is due also where the same call took a job."""
    if "1" in ours:
        stock.setdefault("1", ours["1"])
