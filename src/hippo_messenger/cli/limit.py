"""`hippo limit`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from hippo_messenger.cli.options import (
    CatalogueOption,
    JsonOption,
    PrefixOption,
    RedisOption,
    known_services,
    opened,
    read_catalogue,
    read_settings,
    registry_of,
    service_among,
    suggest_services,
)
from hippo_messenger.cli.output import print_json, run
from hippo_messenger.errors import ConfigurationError
from hippo_messenger.limits import RateLimit, WorkLimits
from hippo_messenger.observer import Observer
from hippo_messenger.queues.call import Caller
from hippo_messenger.queues.layout import Layout
from hippo_messenger.queues.throttle import Throttle

__all__ = ["limit"]


def limit(
    service: Annotated[
        str,
        typer.Argument(metavar="SERVICE", help="The service whose workers are meant.", autocompletion=suggest_services),
    ],
    rate: Annotated[
        str | None,
        typer.Option("--rate", metavar="JOBS/PERIOD", help="How many jobs begin in a period: 100/s, 5/30s, 10/min."),
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option("--concurrency", metavar="JOBS", min=1, help="How many are processed at a time.")
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="Lift both limits.")] = False,
    redis: RedisOption = None,
    catalogue: CatalogueOption = None,
    prefix: PrefixOption = None,
    as_json: JsonOption = False,
) -> None:
    """Limit what all workers of a service do together, in Python and Node; without options show the limits.

    What is not named stays as it is. The limits stay with the queue until they are lifted.
    """
    if off and (rate is not None or concurrency is not None):
        raise ConfigurationError("expected --off alone, or --rate and --concurrency, got both")
    wanted = None if rate is None else RateLimit.parse(rate)
    name, limits = run(_set(service, wanted, concurrency, redis, catalogue, prefix, off=off))
    print_json(asdict(limits)) if as_json else print(f"{name}: {limits}")


async def _set(
    service: str,
    rate: RateLimit | None,
    concurrency: int | None,
    redis: str | None,
    catalogue: str | None,
    prefix: str | None,
    *,
    off: bool,
) -> tuple[str, WorkLimits]:
    settings = read_settings(prefix)
    async with opened(redis, settings) as connection:
        known = await known_services(registry_of(connection, settings), read_catalogue(catalogue))
        name = service_among(known, service)
        throttle = Throttle(connection, Layout(settings.prefix), caller=Caller(connection, observer=Observer()))
        found = await throttle.get(name)
        wanted = WorkLimits() if off else WorkLimits(rate or found.rate, concurrency or found.concurrency)
        if off or wanted != found:  # what we take for none may be a limit to Node
            await throttle.set(name, wanted)
        return name, wanted
