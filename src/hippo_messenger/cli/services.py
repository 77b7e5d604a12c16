"""`hippo services`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict

from hippo_messenger.cli.options import (
    CatalogueOption,
    JsonOption,
    PrefixOption,
    RedisOption,
    opened,
    read_catalogue,
    read_settings,
)
from hippo_messenger.cli.output import Listing, alarming, duration, print_json, run
from hippo_messenger.cli.shown import in_line, shown
from hippo_messenger.queues.layout import Layout
from hippo_messenger.queues.overview import Overview, Standing
from hippo_messenger.settings import Settings

__all__ = ["clash_lines", "marked", "print_clashes", "services", "standings"]


def services(
    redis: RedisOption = None,
    prefix: PrefixOption = None,
    catalogue: CatalogueOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show which services are registered, what they listen to, when they were last heard of, and their queues.

    With --catalogue also which of its services are not registered, and which registered ones it doesn't know.
    """
    settings = read_settings(prefix)
    found = run(standings(redis, settings))
    if as_json:
        print_json([asdict(entry) for entry in found])
        return
    if len(found) == 1:
        print(f"no service is registered under the prefix {settings.prefix}: run a broker and let one register")
    _listing(found).print()
    print_clashes(found)
    if catalogue is not None:
        _compare(found[1:], {service.value for service in read_catalogue(catalogue).services})


def _compare(found: Sequence[Standing], known: set[str]) -> None:
    registered = {entry.queue for entry in found}
    for what, names in (("not registered", known - registered), ("not in the catalogue", registered - known)):
        if names:
            print(f"{what}: {', '.join(sorted(names))}")


async def standings(redis: str | None, settings: Settings, *, also: Iterable[str] | None = None) -> list[Standing]:
    """How every queue stands, the broker's first; see `Overview.standings`."""
    async with opened(redis, settings) as connection:
        return await Overview(connection, Layout(settings.prefix)).standings(also=also)


def _listing(found: list[Standing]) -> Listing:
    return Listing(
        titles=("queue", "listens to", ">heard", ">workers", ">waiting", ">failed"),
        rows=[
            (
                marked(entry),
                shown(in_line(", ".join(entry.listens_to))) or "–",
                _heard(entry),
                "?" if entry.workers is None else str(entry.workers),
                str(entry.waiting),
                alarming(entry.failed),
            )
            for entry in found
        ],
        wrapped=("listens to",),
    )


def marked(entry: Standing) -> str:
    """A queue's name, with what an operator should know of it first."""
    marks = [("paused", "yellow")] if entry.paused else []
    marks += [("full", "yellow")] if entry.is_full else []
    marks += [(f"{entry.slowed} slowed", "red")] if entry.slowed else []
    marks += [("clash", "red")] if entry.clash else []
    marks += [(f"{entry.rejected} rejected", "dim")] if entry.rejected else []
    return " ".join([shown(entry.queue), *(f"[{colour}]{mark}[/]" for mark, colour in marks)])


def clash_lines(found: Sequence[Standing]) -> list[str]:
    """Which services are registered in turn by two deployments, in a line each."""
    return [f"clash: {in_line(str(entry.clash))}" for entry in found if entry.clash is not None]


def print_clashes(found: Sequence[Standing]) -> None:
    """Say which services are registered in turn by two deployments."""
    for line in clash_lines(found):
        print(line)


def _heard(entry: Standing) -> str:
    if not entry.listens_to and entry.last_heard is None:
        return "–"
    return "[yellow]never[/]" if entry.last_heard is None else f"{duration(entry.last_heard)} ago"
