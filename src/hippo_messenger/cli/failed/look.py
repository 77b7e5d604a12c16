"""`hippo failed list` and `hippo failed show`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated

import typer

from hippo_messenger.cli.failed.desk import (
    Desk,
    GroupOption,
    RejectedOption,
    ServiceArgument,
    age,
    ago,
    opened_desk,
    suggest_queues,
)
from hippo_messenger.cli.options import CatalogueOption, JsonOption, PrefixOption, RedisOption
from hippo_messenger.cli.output import Listing, console, print_json, run
from hippo_messenger.cli.shown import in_line, shown
from hippo_messenger.errors import ConfigurationError
from hippo_messenger.queues.dead_letters import Selection
from hippo_messenger.queues.letter import Letter
from hippo_messenger.queues.letter_check import LetterCheck
from hippo_messenger.queues.letter_group import LetterGroup

__all__ = ["list_letters", "show"]

_LIMIT = 50
_REASON_LENGTH = 200


def list_letters(
    service: Annotated[
        str | None,
        typer.Argument(metavar="SERVICE", help='Only of this service, or of "broker".', autocompletion=suggest_queues),
    ] = None,
    group: GroupOption = None,
    rejected: RejectedOption = False,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            "-n",
            metavar="N",
            min=1,
            help=f"With --group: at most so many; left out, {_LIMIT}.",
            show_default=False,
        ),
    ] = None,
    redis: RedisOption = None,
    catalogue: CatalogueOption = None,
    prefix: PrefixOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the dead letters in groups that most likely have one cause; with --group one by one, the oldest first.

    The records of rejected events are listed after them, in groups of their own; with --rejected these alone.
    """
    if group is None:
        _refuse_limit(limit)
        found = run(_groups(service, redis, catalogue, prefix, only_rejected=rejected))
        print_json(_groups_as_json(found)) if as_json else _print_groups(found, only_rejected=rejected)
        return
    if service is None:
        raise ConfigurationError("expected the service whose group is meant: hippo failed list SERVICE --group GROUP")
    selection = Selection(group=group, rejected=rejected)
    letters = run(_letters(service, selection, limit or _LIMIT, redis, catalogue, prefix))
    print_json([_letter_in_short(letter) for letter in letters]) if as_json else _print_letters(letters)


def show(
    service: ServiceArgument,
    job_id: Annotated[str, typer.Argument(metavar="ID", help="The job's id.")],
    redis: RedisOption = None,
    catalogue: CatalogueOption = None,
    prefix: PrefixOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one dead letter whole: its data with secrets masked, error, traces, attempts, options and history."""
    letter, check = run(_letter(service, job_id, redis, catalogue, prefix))
    whole = _whole(letter, check)
    print_json(whole) if as_json else _print_whole(letter, whole)


def _refuse_limit(limit: int | None) -> None:
    if limit is not None:
        raise ConfigurationError(
            "expected --limit together with --group, got it alone: all groups are shown, and "
            "`hippo failed list SERVICE --group GROUP --limit N` shows so many of one"
        )


async def _groups(
    service: str | None, redis: str | None, catalogue: str | None, prefix: str | None, *, only_rejected: bool
) -> list[tuple[str, LetterGroup]]:
    async with opened_desk(service, redis, catalogue, prefix) as desks:
        found = [(desk.queue, group) for desk in desks for group in await desk.letters.groups()]
    return [(queue, group) for queue, group in found if group.is_rejected or not only_rejected]


async def _letters(
    service: str, selection: Selection, limit: int, redis: str | None, catalogue: str | None, prefix: str | None
) -> list[Letter]:
    letters: list[Letter] = []
    async with opened_desk(service, redis, catalogue, prefix) as (desk,):
        async for page in desk.letters.pages(selection, fields=("atm", "timestamp")):
            letters += page[: limit - len(letters)]
            if len(letters) == limit:
                break
    return letters


async def _letter(
    service: str, job_id: str, redis: str | None, catalogue: str | None, prefix: str | None
) -> tuple[Letter, LetterCheck]:
    desk: Desk
    async with opened_desk(service, redis, catalogue, prefix) as (desk,):
        return await desk.letters.letter(job_id), desk.check


def _print_groups(found: Sequence[tuple[str, LetterGroup]], *, only_rejected: bool) -> None:
    dead = [(queue, group) for queue, group in found if not group.is_rejected]
    rejected = [(queue, group) for queue, group in found if group.is_rejected]
    if dead:
        _group_listing(dead).print()
    if rejected:
        if dead:
            print()
        print("Rejected at send, and never delivered: edit them, or let them be")
        _group_listing(rejected).print()
    if found:
        print()
    words = [] if only_rejected else [_counted(dead, "dead letter")]
    words += [_counted(rejected, "rejected event")] if rejected or only_rejected else []
    print(", ".join(words))


def _counted(found: Sequence[tuple[str, LetterGroup]], what: str) -> str:
    if not found:
        return f"no {what}s"
    count, groups = sum(group.count for _, group in found), len(found)
    return f"{count:,} {what}{_s(count)} in {groups:,} group{_s(groups)}"


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _group_listing(found: Sequence[tuple[str, LetterGroup]]) -> Listing:
    return Listing(
        titles=("queue", "group", "event", ">count", ">oldest", ">newest", "error"),
        rows=[
            (
                queue,
                group.fingerprint.group,
                shown(group.fingerprint.event_type),
                f"{group.count:,}",
                age(group.first),
                age(group.last),
                _error(group),
            )
            for queue, group in found
        ],
        wrapped=("error",),
    )


def _error(group: LetterGroup) -> str:
    place = f" [dim]{shown(group.fingerprint.place)}[/]" if group.fingerprint.place else ""
    return f"[red]{shown(group.fingerprint.error)}[/]{place}"


def _groups_as_json(found: Sequence[tuple[str, LetterGroup]]) -> list[Mapping[str, object]]:
    return [
        {
            "queue": queue,
            "group": group.fingerprint.group,
            "event": group.fingerprint.event_type,
            "error": group.fingerprint.error,
            "place": group.fingerprint.place,
            "count": group.count,
            "first": _iso(group.first),
            "last": _iso(group.last),
            "reason": group.reason,
            "example": group.example,
            "rejected": group.is_rejected,
        }
        for queue, group in found
    ]


def _print_letters(letters: Sequence[Letter]) -> None:
    Listing(
        titles=("id", ">age", ">attempts", "reason"),
        rows=[
            (
                shown(letter.id),
                age(letter.failed_at),
                str(letter.attempts),
                shown(in_line(letter.reason)[:_REASON_LENGTH]),
            )
            for letter in letters
        ],
        wrapped=("reason",),
    ).print()


def _letter_in_short(letter: Letter) -> Mapping[str, object]:
    return {
        "id": letter.id,
        "event": letter.name,
        "failed": _iso(letter.failed_at),
        "added": _iso(letter.sent_at),
        "attempts": letter.attempts,
        "reason": letter.reason,
    }


def _whole(letter: Letter, check: LetterCheck) -> Mapping[str, object]:
    fingerprint = letter.fingerprint
    return {
        **_letter_in_short(letter),
        "group": fingerprint.group,
        "error": fingerprint.error,
        "place": fingerprint.place,
        "rejected": letter.where.is_rejected,
        "valid": check.fault(letter) is None,
        "fault": check.fault(letter),
        "data": check.shown(letter),
        "options": letter.options,
        "traces": letter.traces,
        "history": [
            {
                "reason": past.reason,
                "failed": _iso(past.failed_at),
                "redriven": _iso(past.redriven_at),
                "attempts": past.attempts,
                "trace": past.trace,
                "data": None if past.data is None else check.shown(letter, past.data),
            }
            for past in letter.history
        ],
        "logs": [line.decode(errors="replace") for line in letter.logs],
    }


def _print_whole(letter: Letter, whole: Mapping[str, object]) -> None:
    terminal = console()
    terminal.print(f"[bold]{shown(letter.name)}[/]  {shown(letter.id)}", soft_wrap=True)
    facts = [
        ("error", letter.reason),
        ("failed", f"{ago(letter.failed_at)}, at {_iso(letter.failed_at)}"),
        ("added", f"{ago(letter.sent_at)}, at {_iso(letter.sent_at)}"),
        ("attempts", str(letter.attempts)),
        ("group", f"{letter.fingerprint.group}  {letter.fingerprint.error} {letter.fingerprint.place}".rstrip()),
        ("valid", "yes" if whole["valid"] else str(whole["fault"])),
        ("options", json.dumps(letter.options, ensure_ascii=False)),
    ]
    for name, value in facts:
        terminal.print(f"  [dim]{name:<10}[/]{shown(value)}", soft_wrap=True)
    _print_part("data", json.dumps(whole["data"], indent=2, ensure_ascii=False))
    for past, told in zip(letter.history, _history(whole), strict=True):
        _print_part(f"failed before, {ago(past.failed_at)}, redriven {ago(past.redriven_at)}", past.reason)
        if told is not None:
            _print_part("its data then", json.dumps(told, indent=2, ensure_ascii=False))
    if letter.logs:
        _print_part("log", "\n".join(line.decode(errors="replace") for line in letter.logs))
    if letter.traces:
        earlier = len(letter.traces) - 1
        _print_part("trace" + (f" (and {earlier} earlier, see --json)" if earlier else ""), letter.traces[-1].rstrip())


def _history(whole: Mapping[str, object]) -> list[object]:
    history = whole["history"]
    return [past["data"] for past in history] if isinstance(history, list) else []


def _print_part(title: str, text: str) -> None:
    console().print(f"\n[dim]{shown(title)}[/]\n{shown(text)}", soft_wrap=True)


def _iso(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
