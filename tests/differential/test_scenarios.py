"""Our batch scripts leave the key space that BullMQ's own scripts leave, for the pinned packages of PyPI and npm."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from redis import Redis

from tests.differential.differences import without_known_differences
from tests.differential.keyspace import key_space
from tests.differential.players import Hippo, StockPlayer
from tests.differential.scenarios import SCENARIOS
from tests.differential.steps import Step
from tests.differential.stock import stock_commands


@pytest.mark.parametrize("source", ["pypi", "npm"])
@pytest.mark.parametrize("name", SCENARIOS)
async def test_the_same_key_space(name: str, source: str, redis_server: str, prefix: str) -> None:
    await play_both(SCENARIOS[name], source, redis_server, prefix)


async def play_both(steps: Sequence[Step], source: str, url: str, prefix: str) -> None:
    """Play the steps on both sides; after each the answers and the key spaces must be equal.

    Finished jobs are counted by the minute: where one ends between the two sides the steps are played again.
    """
    while True:
        minute = time.time() // 60
        try:
            return await _play_both(steps, source, url, prefix)
        except AssertionError:
            if time.time() // 60 == minute:
                raise


async def _play_both(steps: Sequence[Step], source: str, url: str, prefix: str) -> None:
    commands = stock_commands(source)
    theirs, ours = f"{prefix[:-1]}-stock}}", f"{prefix[:-1]}-ours}}"
    since = time.time()
    with Redis.from_url(url, decode_responses=True) as client:
        stock = StockPlayer(client, commands, prefix=theirs)
        hippo = Hippo(url, StockPlayer(client, commands, prefix=ours), prefix=ours)
        try:
            for number, step in enumerate(steps, start=1):
                where = f"after step {number}, {step}"
                assert await hippo.play(step) == await stock.play(step), where
                expected, found = without_known_differences(
                    key_space(client, theirs, since=since), key_space(client, ours, since=since)
                )
                assert found == expected, where
        finally:
            await hippo.close()
            for key in client.scan_iter(f"{prefix[:-1]}-*", count=10_000):
                client.delete(key)
