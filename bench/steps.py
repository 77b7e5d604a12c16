"""What a benchmark does, step by step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress

__all__ = ["Steps"]

Who = TypeVar("Who")
How = TypeVar("How")
Found = TypeVar("Found")


class Steps(Progress):
    """A bar that says which step it is, and how many are left."""

    def __init__(self, console: Console, *, total: int) -> None:
        super().__init__(console=console, transient=True)
        self._bar = self.add_task("", total=total)

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        self.update(self._bar, description=what)
        yield
        self.advance(self._bar)

    async def interleaved(
        self, turns: Mapping[tuple[Who, How], str], run: Callable[[Who, How], Awaitable[Found]], *, runs: int
    ) -> dict[tuple[Who, How], list[Found]]:
        """What each turn (who runs how) found in so many runs; its value is what the bar calls it."""
        found: dict[tuple[Who, How], list[Found]] = {turn: [] for turn in turns}
        for _ in range(runs):  # all have one before any has the next, so that a slow minute is one for all
            for (who, how), name in turns.items():
                with self.step(name):
                    found[who, how].append(await run(who, how))
        return found
