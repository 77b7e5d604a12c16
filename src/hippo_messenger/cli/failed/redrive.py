"""`hippo failed redrive`."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Protocol

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hippo_messenger.cli.failed.desk import (
    AllOption,
    Desk,
    GroupOption,
    IdArgument,
    ServiceArgument,
    ago,
    opened_desk,
    selected,
)
from hippo_messenger.cli.options import CatalogueOption, JsonOption, PrefixOption, RedisOption, finite
from hippo_messenger.cli.output import complain, print_json, run
from hippo_messenger.cli.shown import in_line
from hippo_messenger.errors import ConfigurationError
from hippo_messenger.queues.dead_letters import Selection
from hippo_messenger.queues.redrive import RedrivePlan, RedriveProgress

__all__ = ["redrive"]

_LOOK_EVERY = 0.3
_LINE_EVERY = 1.0
_FAULTS_SHOWN = 10


def redrive(
    service: ServiceArgument,
    job_id: IdArgument = None,
    group: GroupOption = None,
    everything: AllOption = False,
    rate: Annotated[
        float | None,
        typer.Option(
            "--rate", min=0.01, callback=finite, metavar="N", help="At most so many a second.", show_default=False
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", metavar="N", min=1, help="At most so many.", show_default=False)
    ] = None,
    only_valid: Annotated[
        bool, typer.Option("--only-valid", help="Only what is valid under today's catalogue.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be redriven.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Say how far the queue's last redrive is, or was.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow the one that is under way to its end.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="End the one that is under way.")] = False,
    redis: RedisOption = None,
    catalogue: CatalogueOption = None,
    prefix: PrefixOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put dead letters back into line, the oldest first, under their ids and with no attempt counted.

    One redrive of a queue is under way at a time. Where it was cut off, the same command goes on with what is left.
    """
    if status + watch + cancel > 1:
        raise ConfigurationError("expected one of --status, --watch and --cancel")

    async def act() -> tuple[Desk, RedriveProgress | None, bool]:
        async with opened_desk(service, redis, catalogue, prefix) as (desk,):
            if status:
                return desk, await desk.redrive.progress(), False
            if watch:
                found = await desk.redrive.progress()
                is_running = found is not None and found.state == "running"
                return desk, await _watch(desk, quiet=as_json) if is_running else None, False
            if cancel:
                was_running = await desk.redrive.cancel()
                return desk, await _watch(desk, quiet=True) if was_running else None, False
            selection = selected(job_id, group, everything=everything)
            plan = await _plan(desk, selection, rate=rate, limit=limit, only_valid=only_valid)
            if dry_run:
                return desk, await desk.redrive.preview(plan), False
            with _shown_progress(desk.queue, quiet=as_json or job_id is not None) as told:
                done = await desk.redrive.run(plan, told=told)
            return desk, done, await desk.is_paused()

    desk, progress, is_paused = run(act())
    if as_json:
        print_json(None if progress is None else _as_json(progress))
    elif progress is None:
        print(f"no redrive of {desk.queue} is under way" if watch or cancel else f"{desk.queue} was never redriven")
    else:
        _print(desk.queue, progress, is_paused=is_paused)
    is_cut_off = progress is not None and progress.state in ("cancelled", "interrupted")
    if watch | cancel if progress is None else is_cut_off and not status | cancel:
        raise typer.Exit(1)


async def _plan(
    desk: Desk, selection: Selection, *, rate: float | None, limit: int | None, only_valid: bool
) -> RedrivePlan:
    total = 1 if selection.job_id is not None else await desk.letters.count()
    if selection.group is not None:
        groups = [group for group in await desk.letters.groups() if not group.is_rejected]
        total = sum(group.count for group in groups if group.fingerprint.group == selection.group)
    total = total if limit is None else min(limit, total)
    return RedrivePlan(selection, rate=rate, limit=limit, fault=desk.check.fault if only_valid else None, total=total)


async def _watch(desk: Desk, *, quiet: bool) -> RedriveProgress | None:
    with _shown_progress(desk.queue, quiet=quiet) as told:
        while (progress := await desk.redrive.progress()) is not None and progress.state == "running":
            told(progress)
            await asyncio.sleep(_LOOK_EVERY)
    return progress


class _Told(Protocol):
    def __call__(self, progress: RedriveProgress) -> None: ...


@contextmanager
def _shown_progress(queue: str, *, quiet: bool) -> Iterator[_Told]:
    """A bar on a terminal, a line a second elsewhere, on stderr."""
    if quiet:
        yield lambda progress: None
        return
    terminal = Console(stderr=True)
    if not terminal.is_terminal:
        yield _Lines(queue)
        return
    columns = (TextColumn("redriving {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=terminal, transient=True) as bar:
        task = bar.add_task(queue, total=None)

        def told(progress: RedriveProgress) -> None:
            bar.update(task, completed=progress.redriven + progress.passed_over, total=progress.total)

        yield told


class _Lines:
    """Says how far it is, at most once a second."""

    def __init__(self, queue: str) -> None:
        self._queue = queue
        self._last = time.monotonic()

    def __call__(self, progress: RedriveProgress) -> None:
        if time.monotonic() - self._last >= _LINE_EVERY:
            self._last = time.monotonic()
            of = "" if progress.total is None else f" of {progress.total:,}"
            print(f"{self._queue}: {progress.redriven:,}{of} redriven", file=sys.stderr, flush=True)


def _print(queue: str, progress: RedriveProgress, *, is_paused: bool) -> None:
    if progress.state == "dry run":
        print(f"would redrive {progress.redriven:,} of {queue}{_passed_over(progress)}; nothing was changed")
    else:
        of = f" of {progress.total:,}" if progress.state != "done" and progress.total is not None else ""
        began = f"; begun {ago(progress.started_at)} by {progress.by}" if progress.started_at is not None else ""
        print(f"{progress.state}: {progress.redriven:,}{of} of {queue} redriven{_passed_over(progress)}{began}")
    elsewhere = progress.seen - progress.redriven - progress.passed_over
    if progress.state == "done" and elsewhere > 0:
        print(f"  {elsewhere:,} were redriven or discarded by somebody else meanwhile")
    for fault, count in sorted(progress.faults.items(), key=lambda found: -found[1])[:_FAULTS_SHOWN]:
        print(f"  {count:,} × {in_line(fault)}")
    if len(progress.faults) > _FAULTS_SHOWN:
        print(f"  and {len(progress.faults) - _FAULTS_SHOWN:,} reasons more")
    if progress.state in ("cancelled", "interrupted"):
        print("what is left stands among the dead letters as before: the same command goes on with it")
    if is_paused:
        complain(f"{queue} is paused: `hippo resume {queue}` lets its workers take what was redriven")


def _passed_over(progress: RedriveProgress) -> str:
    return f", {progress.passed_over:,} passed over" if progress.passed_over else ""


def _as_json(progress: RedriveProgress) -> Mapping[str, object]:
    times = {
        name: None if value is None else value.isoformat()
        for name, value in (("started_at", progress.started_at), ("ended_at", progress.ended_at))
    }
    return asdict(progress) | times
