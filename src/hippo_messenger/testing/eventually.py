"""Waiting for something to become true, with a deadline instead of hope."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

__all__ = ["eventually"]


async def eventually(check: Callable[[], Awaitable[object]], *, timeout: float = 10.0, interval: float = 0.01) -> None:
    """Call `check` until it raises no assertion and doesn't return False; its last failure is the one raised.

    An unpacking that doesn't fit counts as an assertion. A look that has not ended by then is cancelled.

    Args:
        check: Looks once.
        timeout: Seconds until its failure is raised.
        interval: Seconds between two looks.
    """
    deadline = asyncio.get_running_loop().time() + timeout
    failure: Exception = AssertionError(f"the check has not ended within {timeout:g} s")
    while True:
        limit = asyncio.timeout_at(deadline)
        try:
            async with limit:
                if await check() is not False:
                    return
            failure = AssertionError("it never became true")
        except (AssertionError, ValueError) as error:
            failure = error
        except TimeoutError:
            if not limit.expired():
                raise
        if asyncio.get_running_loop().time() >= deadline:
            raise failure
        await asyncio.sleep(interval)
