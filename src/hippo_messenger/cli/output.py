"""What the commands print: results on stdout, logs and complaints on stderr."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Coroutine
from importlib.metadata import version
from typing import TypeVar

from rich.console import Console

if sys.platform == "win32":
    _new_event_loop = None
else:
    from uvloop import new_event_loop as _new_event_loop

__all__ = ["complain", "console", "package_version", "run", "show_logs"]

Result = TypeVar("Result")


def console() -> Console:
    """The terminal, for tables and the like."""
    return Console(highlight=False)


def complain(message: str) -> None:
    """Say in one line on stderr what is wrong."""
    print(f"hippo: {' '.join(message.split())}", file=sys.stderr)


def show_logs() -> None:
    """Show the package's log on stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s  %(levelname)-7s  %(message)s", "%H:%M:%S"))
    log = logging.getLogger("hippo_messenger")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


def package_version() -> str:
    """The version of this package."""
    return version("hippo-service-messenger")


def run(main: Coroutine[object, object, Result]) -> Result:
    """Run a coroutine on the fastest event loop there is."""
    with asyncio.Runner(loop_factory=_new_event_loop) as runner:
        return runner.run(main)
