"""`hippo events`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer

from hippo_messenger.catalogue.catalogue import Catalogue
from hippo_messenger.catalogue.model import EventData, EventType
from hippo_messenger.cli.options import (
    CatalogueOption,
    JsonOption,
    PrefixOption,
    RedisOption,
    member_of,
    opened,
    read_catalogue,
    read_settings,
    registry_of,
    suggest_events,
)
from hippo_messenger.cli.output import Listing, complain, console, duration, print_json, run
from hippo_messenger.cli.shown import in_line, shown
from hippo_messenger.errors import ConnectionNotConfiguredError
from hippo_messenger.settings import Settings

__all__ = ["events"]

_REMEMBERED = 30 * 86400.0
"""Who has not sent an event for so many seconds counts as a sender of it no more."""


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    type: str
    required: bool
    meaning: str


@dataclass(frozen=True, slots=True)
class _Entry:
    """One event type, and who has to do with it."""

    event: str
    meaning: str
    since: str
    deprecated: str
    """Why, and what to send instead; empty where it isn't."""
    sent_by: Mapping[str, float]
    """Service -> how many seconds ago."""
    listened_to_by: tuple[str, ...]
    fields: tuple[_Field, ...]


@dataclass(frozen=True, slots=True)
class _Traffic:
    sent_by: Mapping[str, Mapping[str, float]]
    listened_to_by: Mapping[str, Sequence[str]]


def events(
    event: Annotated[
        str | None,
        typer.Argument(metavar="EVENT", help="One event type: its fields too.", autocompletion=suggest_events),
    ] = None,
    redis: RedisOption = None,
    catalogue: CatalogueOption = None,
    prefix: PrefixOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the catalogue: every event type, what it means, who sends it and who listens.

    Who sends is what the brokers have seen in the last 30 days. Without a Redis the catalogue alone is shown.
    """
    known = read_catalogue(catalogue)
    types = known.event_types
    wanted = types if event is None else [member_of(types, event, what="an event type of the catalogue")]
    traffic = run(_look(redis, read_settings(prefix)))
    entries = [_entry(known, event_type, traffic) for event_type in wanted]
    if as_json:
        print_json([asdict(entry) for entry in entries])
    elif event is None:
        _listing(entries).print()
    else:
        _print_one(entries[0])


async def _look(redis: str | None, settings: Settings) -> _Traffic:
    try:
        async with opened(redis, settings) as connection:
            registry = registry_of(connection, settings)
            registered = (await registry.load()).by_service
            senders = await registry.senders()
    except ConnectionNotConfiguredError:
        complain("no Redis connection is named, so nobody can say who sends and who listens")
        return _Traffic({}, {})
    now = time.time()
    listened_to_by: dict[str, list[str]] = {}
    for service, registration in sorted(registered.items()):
        for name in registration.listens_to:
            listened_to_by.setdefault(name, []).append(service)
    sent_by = {
        name: {service: now - when for service, when in sorted(who.items()) if now - when < _REMEMBERED}
        for name, who in senders.items()
    }
    return _Traffic(sent_by, listened_to_by)


def _entry(catalogue: Catalogue, event_type: EventType, traffic: _Traffic) -> _Entry:
    model = catalogue.model(event_type)
    name = event_type.value
    return _Entry(
        event=name,
        meaning=model.meaning,
        since=model.since,
        deprecated=_deprecation(model),
        sent_by={service: round(max(ago, 0.0), 1) for service, ago in traffic.sent_by.get(name, {}).items()},
        listened_to_by=tuple(traffic.listened_to_by.get(name, ())),
        fields=_fields(model),
    )


def _deprecation(model: type[EventData]) -> str:
    if model.deprecation is None:
        return ""
    instead = model.deprecation.replaced_by
    return model.deprecation.reason + (f"; send {instead.value} instead" if instead is not None else "")


def _fields(model: type[EventData]) -> tuple[_Field, ...]:
    """The fields as they go over the wire."""
    schema = model.model_json_schema(by_alias=True, mode="serialization")
    required = schema.get("required", ())
    return tuple(
        _Field(name=name, type=_wire_type(field), required=name in required, meaning=field.get("description", ""))
        for name, field in schema["properties"].items()
    )


def _wire_type(schema: Mapping[str, Any]) -> str:
    """What JSON Schema says of a value, in a word or two; that it may be left out is said elsewhere."""
    if "anyOf" in schema:
        kinds = [_wire_type(one) for one in schema["anyOf"] if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if schema.get("type") == "array":
        return f"list of {_wire_type(schema.get('items', {}))}"
    if "enum" in schema:
        return " | ".join(str(value) for value in schema["enum"])
    return str(schema.get("format") or schema.get("type") or "anything")


def _listing(entries: Sequence[_Entry]) -> Listing:
    return Listing(
        titles=("event", "sent by", "listened to by", "meaning"),
        rows=[
            (
                f"[strike]{shown(entry.event)}[/]" if entry.deprecated else shown(entry.event),
                shown(in_line(", ".join(entry.sent_by))) or "–",
                shown(in_line(", ".join(entry.listened_to_by))) or "–",
                shown(entry.meaning)
                + (f" [yellow]Deprecated: {shown(entry.deprecated)}.[/]" if entry.deprecated else ""),
            )
            for entry in entries
        ],
        wrapped=("sent by", "listened to by", "meaning"),
    )


def _print_one(entry: _Entry) -> None:
    sent_by = ", ".join(f"{service} ({duration(ago)} ago)" for service, ago in entry.sent_by.items())
    facts = [("since", entry.since), ("sent by", sent_by or "–"), ("listens", ", ".join(entry.listened_to_by) or "–")]
    if entry.deprecated:
        facts.insert(1, ("deprecated", entry.deprecated))
    terminal = console()
    terminal.print(f"[bold]{shown(entry.event)}[/]  {shown(entry.meaning)}", soft_wrap=True)
    for name, value in facts:
        terminal.print(f"  [dim]{name:<12}[/]{shown(in_line(value))}", soft_wrap=True)
    print()
    Listing(
        titles=("field", "type", "required", "meaning"),
        rows=[
            (field.name, shown(field.type), "yes" if field.required else "", shown(field.meaning))
            for field in entry.fields
        ],
        wrapped=("type", "meaning"),
    ).print()
