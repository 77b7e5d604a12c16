"""`hippo unregister`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from hippo_messenger.catalogue.catalogue import Catalogue
from hippo_messenger.cli.options import (
    CatalogueOption,
    PrefixOption,
    RedisOption,
    finite,
    known_services,
    opened,
    read_catalogue,
    read_settings,
    service_among,
    suggest_services,
)
from hippo_messenger.cli.output import complain, duration, run
from hippo_messenger.errors import ConfigurationError
from hippo_messenger.observer import Observer
from hippo_messenger.queues.call import Caller
from hippo_messenger.queues.layout import Layout
from hippo_messenger.queues.overview import Overview, Standing
from hippo_messenger.queues.registry import Registry
from hippo_messenger.queues.removal import JobsOfRemoved, Removal, Removed
from hippo_messenger.settings import Settings

__all__ = ["unregister"]


def unregister(
    service: Annotated[
        str,
        typer.Argument(
            metavar="SERVICE", help="The service that gets no more events.", autocompletion=suggest_services
        ),
    ],
    keep: Annotated[bool, typer.Option("--keep", help="Leave its jobs as they are; this is the default.")] = False,
    drain: Annotated[
        bool, typer.Option("--drain", help="Wait until workers have done its jobs, then remove its queue.")
    ] = False,
    discard: Annotated[
        bool, typer.Option("--discard", help="Remove its jobs, dead letters too, and its queue; asks first.")
    ] = False,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout", metavar="SECONDS", min=0, callback=finite, help="How long to wait for jobs to be done."
        ),
    ] = 60.0,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Discard without asking.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also where the service was heard of just now.")] = False,
    redis: RedisOption = None,
    prefix: PrefixOption = None,
    catalogue: CatalogueOption = None,
) -> None:
    """Take a service out of the registry: it gets no new events. What becomes of its jobs is chosen.

    A service that is out already can be named too, to drain or discard what it has left. Exit code 1 where jobs are
    left that --drain or --discard should have removed.
    """
    jobs = _chosen(keep=keep, drain=drain, discard=discard)
    settings = read_settings(prefix)
    if not run(
        _remove(service, read_catalogue(catalogue), jobs, redis, settings, timeout=timeout, yes=yes, force=force)
    ):
        raise typer.Exit(1)


def _chosen(*, keep: bool, drain: bool, discard: bool) -> JobsOfRemoved:
    if keep + drain + discard > 1:
        raise ConfigurationError("expected one of --keep, --drain and --discard, got several")
    return "drain" if drain else "discard" if discard else "keep"


async def _remove(
    service: str,
    catalogue: Catalogue,
    jobs: JobsOfRemoved,
    redis: str | None,
    settings: Settings,
    *,
    timeout: float,
    yes: bool,
    force: bool,
) -> bool:
    async with opened(redis, settings) as connection:
        layout, caller = Layout(settings.prefix), Caller(connection, observer=Observer())
        registry = Registry(connection, layout, caller=caller)
        known = await known_services(registry, catalogue)
        name = service_among([*known, *await registry.unregistered()], service)
        standing = await Overview(connection, layout).standing(name)
        instances = await registry.instances(name, within=2 * settings.presence_interval)
        if instances:
            _warn_of(standing, instances, force=force)
        if jobs == "discard" and not yes:
            _confirm(standing)
        removal = Removal(registry, layout, caller=caller, settings=settings)
        return _say(await removal.unregister(name, jobs=jobs, timeout=timeout), jobs, timeout)


def _warn_of(standing: Standing, instances: int, *, force: bool) -> None:
    there = (
        f"{standing.queue} was heard of {duration(standing.last_heard)} ago, from {instances} "
        f"messenger{'s' if instances > 1 else ''} in the last minute: one that starts anew, or is older than this "
        "version, registers it again"
    )
    if not force:
        raise ConfigurationError(f"{there}. Stop it first, or use --force")
    complain(there)


def _confirm(standing: Standing) -> None:
    count = standing.waiting + standing.delayed + standing.failed
    lost = f"{count:,} jobs of {standing.queue} ({standing.failed:,} of them failed) will be gone for good"
    if standing.failed:
        lost += f"; `hippo failed export {standing.queue}` keeps a copy of those that failed"
    if not sys.stdin.isatty():
        raise ConfigurationError(f"{lost}. Say --yes to discard them, or --keep")
    typer.confirm(f"{lost}. Discard them?", abort=True)


def _say(removed: Removed, jobs: JobsOfRemoved, timeout: float) -> bool:
    name = removed.service
    if jobs == "keep":
        print(f"{name} gets no more events; {removed.left:,} jobs in its queue stay for its workers")
        return True
    discarded = f"{removed.discarded:,} jobs were discarded; " if jobs == "discard" else ""
    if removed.is_gone:
        print(f"{name} gets no more events; {discarded}its queue is gone")
        return True
    if removed.registered_again:
        complain(f"{name} has registered again meanwhile; {discarded}its queue was left alone")
    elif removed.waiting + removed.active:
        complain(
            f"{name} gets no more events; {discarded}after {timeout:g} s {removed.waiting:,} jobs wait and "
            f"{removed.active:,} are in hand: is a worker running? Say the same again to go on"
        )
    else:
        complain(
            f"{name} gets no more events and its jobs are done; {removed.dead_letters:,} dead letters stay: redrive or "
            f"discard them (`hippo failed list {name}`), then say the same again"
        )
    return False
