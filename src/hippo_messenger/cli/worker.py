"""`hippo worker`."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated

import typer

from hippo_messenger.address import Address
from hippo_messenger.cli.options import CatalogueOption, PrefixOption, RedisOption
from hippo_messenger.cli.output import run, show_logs
from hippo_messenger.errors import ConfigurationError
from hippo_messenger.worker import HippoWorker

__all__ = ["worker"]


def worker(
    address: Annotated[
        str, typer.Argument(metavar="MODULE:WORKER", help="A HippoWorker, or a function that makes one.")
    ],
    register: Annotated[bool, typer.Option(help="Register the service before it works.")] = True,
    redis: RedisOption = None,
    catalogue: CatalogueOption = None,
    prefix: PrefixOption = None,
) -> None:
    """Register a service and run its worker until SIGINT or SIGTERM; a second signal doesn't wait for processors.

    The options stand for the variables HIPPO_REDIS_URL, HIPPO_CATALOGUE and HIPPO_PREFIX; what the module says itself
    counts more.
    """
    show_logs()
    given = {"HIPPO_REDIS_URL": redis, "HIPPO_CATALOGUE": catalogue, "HIPPO_PREFIX": prefix}
    os.environ |= {name: value for name, value in given.items() if value is not None}

    async def work() -> None:
        found = await _load(address)
        async with found.messenger as messenger:
            await messenger.connection.open()
            if register:
                await messenger.register()
            await found.run()

    run(work())


async def _load(address: str) -> HippoWorker:
    try:
        where = Address.of(address, form='a worker as "module:worker"')
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(where.module)
    except ModuleNotFoundError as error:
        if not f"{where.module}.".startswith(f"{error.name}."):
            raise ConfigurationError(f"{where.module} can't be loaded: {error}") from error
        raise ConfigurationError(
            f"there is no module {where.module!r} in {Path.cwd()} or on the path; give it as in an import"
        ) from None
    found = getattr(module, where.attribute, None)
    if found is None:
        close = get_close_matches(where.attribute, vars(module), n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ConfigurationError(
            f"expected a worker at {address!r}, but {where.module} has no {where.attribute!r}{hint}"
        )
    if inspect.isfunction(found):
        found = found()
        if inspect.isawaitable(found):
            found = await found
    if not isinstance(found, HippoWorker):
        raise ConfigurationError(f"expected a HippoWorker at {address!r}, got {type(found).__name__}")
    return found
