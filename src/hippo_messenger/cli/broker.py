"""`hippo broker`."""

from __future__ import annotations

from hippo_messenger.broker import HippoBroker
from hippo_messenger.cli.options import CatalogueOption, PrefixOption, RedisOption, read_catalogue, read_settings
from hippo_messenger.cli.output import run, show_logs

__all__ = ["broker"]


def broker(redis: RedisOption = None, catalogue: CatalogueOption = None, prefix: PrefixOption = None) -> None:
    """Run a message broker until SIGINT or SIGTERM; it finishes the batch in hand. Run as many as you like."""
    show_logs()
    run(HippoBroker(redis_connection=redis, catalogue=read_catalogue(catalogue), settings=read_settings(prefix)).run())
