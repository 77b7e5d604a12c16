"""Benchmarks that need no Node run, in small: they reach into what they measure, and nobody else would notice."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALL = {
    "calls": ("--listeners", "3", "--events", "300"),
    "idle": ("--seconds", "1"),
    "profile": ("--events", "300", "--runs", "1", "--only", "ours", "--no-perf"),
    "redrive": ("--letters", "100"),
    "register": ("--waiting", "100", "--runs", "1"),
    "scripts": ("--events", "300", "--runs", "1"),
    "stages": ("--events", "50"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
async def test_a_benchmark_runs_and_prints_a_table(name: str, server_binary: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", f"bench.{name}", *SMALL[name], "--server", server_binary),
        stdout=PIPE,
        stderr=PIPE,
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith(("HIPPO_", "REDIS_"))},
    )
    out, err = (stream.decode() for stream in await process.communicate())

    assert process.returncode == 0, err
    assert len(out.splitlines()) > 4
