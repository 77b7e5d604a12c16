"""A short chaos: each kind of fault about once, and every event accounted for. `make chaos` is the long one."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

import pytest

from tests.chaos.schedule import WEIGHTS

REPOSITORY = Path(__file__).parents[2]
SEED = "20261124"


@pytest.mark.chaos
@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_every_event_is_accounted_for_whatever_is_done_to_the_system(server_binary: str) -> None:
    words = ["--seconds", "50", "--faults", str(len(WEIGHTS) + 3), "--rate", "150", "--seed", SEED, "--backlog", "2000"]
    chaos = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.chaos.run", *words),
        stdout=PIPE,
        stderr=STDOUT,
        cwd=REPOSITORY,
        env={**os.environ, "HIPPO_TEST_SERVER": server_binary},
    )
    output, _ = await chaos.communicate()
    assert chaos.returncode == 0, output.decode()
    assert b"every event is accounted for" in output
