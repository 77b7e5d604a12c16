"""Our retry policy waits as BullMQ's own backoffs do: fixed, exponential, and with jitter, which only Node has."""

from __future__ import annotations

import json
import shutil
import subprocess
from itertools import product

import pytest
from bullmq.backoffs import Backoffs

from hippo_messenger.retry import RetryPolicy
from tests.conftest import missing
from tests.differential.stock import NODE_MODULES

ATTEMPTS = 12
OPTIONS = [
    {"type": kind, "delay": delay, "jitter": jitter}
    for kind, delay, jitter in product(("fixed", "exponential"), (0, 1, 50, 1000, 4_999), (0, 0.25, 0.5, 1))
]
CHANCES = (0.0, 0.3, 0.999)
ASK_NODE = """
const { Backoffs } = require(process.argv[1]);
const asked = JSON.parse(require('node:fs').readFileSync(0));
console.log(JSON.stringify(asked.map(({ backoff, made, chance }) => {
  Math.random = () => chance;
  return Backoffs.calculate(Backoffs.normalize(backoff), made, new Error(), {});
})));
"""


def ours(backoff: object, made: int, chance: float) -> float:
    """In milliseconds."""
    seconds = RetryPolicy.from_job_options({"attempts": ATTEMPTS, "backoff": backoff}).delay_after(made, chance=chance)
    assert seconds is not None
    return seconds * 1000


def test_delays_are_those_of_node() -> None:
    backoffs = NODE_MODULES / "bullmq" / "dist" / "cjs" / "classes" / "backoffs.js"
    node = shutil.which("node")
    if node is None or not backoffs.is_file():
        missing("Node and the npm package bullmq in tests/interop (make node-packages)")
    assert node is not None
    asked = [
        {"backoff": backoff, "made": made, "chance": chance}
        for backoff, made, chance in product([*OPTIONS, 700], range(1, ATTEMPTS), CHANCES)
    ]
    told = subprocess.run(
        [node, "-e", ASK_NODE, str(backoffs)], input=json.dumps(asked), capture_output=True, text=True, check=True
    )
    for question, expected in zip(asked, json.loads(told.stdout), strict=True):
        # Node cuts fractions of a millisecond off.
        assert ours(**question) == pytest.approx(expected, abs=1), question  # type: ignore[arg-type]


async def test_delays_without_jitter_are_those_of_the_python_package() -> None:
    for backoff, made in product([*(options for options in OPTIONS if not options["jitter"]), 700], range(1, ATTEMPTS)):
        expected = await Backoffs.calculate(Backoffs.normalize(backoff), made, None, None, None)
        assert ours(backoff, made, 0.3) == pytest.approx(expected, abs=1), (backoff, made)
