"""One broker of the demo: what `hippo broker` runs, until SIGTERM or the demo's end.

    python -m hippo_messenger.demo.broker

Redis, the prefix and the catalogue come by the environment.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from hippo_messenger.broker import HippoBroker
from hippo_messenger.catalogue.catalogue import Catalogue
from hippo_messenger.demo.lifeline import lifeline

__all__ = ["main"]


async def route() -> None:
    """Run a broker for as long as the demo wants it."""
    async with lifeline():
        await HippoBroker(catalogue=Catalogue.from_environment(search_path=Path.cwd())).run()


def main() -> None:
    """Take part as a broker."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    asyncio.run(route())


if __name__ == "__main__":
    main()
