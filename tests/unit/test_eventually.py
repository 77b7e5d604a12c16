"""Waiting until something is true ends at its deadline, whatever the check does."""

from __future__ import annotations

import asyncio

import pytest

from hippo_messenger.testing import eventually


async def test_a_check_that_hangs_is_cut_off_at_the_deadline() -> None:
    """Guards against a test that hangs where it would say what it waits for."""
    ended = asyncio.Event()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(AssertionError, match=r"has not ended within 0\.1 s"):
        await eventually(hang, timeout=0.1)
    assert ended.is_set()


async def test_the_last_failure_is_raised_also_where_the_check_hangs_then() -> None:
    looks = 0

    async def fail_and_hang() -> None:
        nonlocal looks
        looks += 1
        assert looks > 1, "the first look"
        await asyncio.Event().wait()

    with pytest.raises(AssertionError, match="the first look"):
        await eventually(fail_and_hang, timeout=0.1)
    assert looks == 2


async def test_it_looks_until_it_is_true_and_says_where_it_never_is() -> None:
    looks = iter([False, False, True])

    async def third_time() -> bool:
        return next(looks)

    async def never() -> bool:
        return False

    await eventually(third_time)
    assert list(looks) == []
    with pytest.raises(AssertionError, match="it never became true"):
        await eventually(never, timeout=0.05)


async def test_an_error_of_the_checks_own_is_raised_at_once() -> None:
    async def time_out() -> None:
        raise TimeoutError("of its own")

    with pytest.raises(TimeoutError, match="of its own"):
        await eventually(time_out)
