"""The buses that are timed beside each other: this package's, and those of stock BullMQ. Their names end in stock
BullMQ's concurrency.
"""

from __future__ import annotations

import sys
from pathlib import Path

from bench.contest import ROOT, Contestant

__all__ = ["BUSES", "NODES", "NODE_PACKAGES", "OURS", "QUIET"]

NODE_PACKAGES = ROOT / "bench" / "node"


def node(concurrency: int) -> Contestant:
    return Contestant(f"BullMQ, Node ×{concurrency}", ("node", str(Path(NODE_PACKAGES, "part.mjs"))), concurrency)


OURS = Contestant("ours", (sys.executable, "-m", "bench.hippo_part", "stream"), 200)
QUIET = Contestant("ours, no events stream", (sys.executable, "-m", "bench.hippo_part", "quiet"), 200)
NODES = (node(50), node(200))
PYTHON = Contestant("BullMQ, Python ×50", (sys.executable, "-m", "bench.stock_python_part", "best"), 50, 0.1)
PLAIN_PYTHON = Contestant("BullMQ, Python plain", (sys.executable, "-m", "bench.stock_python_part", "plain"), 1, 0.1)
BUSES = {
    "ours": OURS,
    "ours-quiet": QUIET,
    "node-50": NODES[0],
    "node-200": NODES[1],
    "python-50": PYTHON,
    "python-plain": PLAIN_PYTHON,
}
"""By what `--only` calls them."""
