"""Runs the demo: a server, brokers and services as processes of their own, from the first line to the last job."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from hippo_messenger.demo.accounting import Account, reconcile
from hippo_messenger.demo.claim import claimed
from hippo_messenger.demo.feed import FeedLine
from hippo_messenger.demo.ledger import Entry, LedgerReader
from hippo_messenger.demo.roster import ROSTER
from hippo_messenger.errors import HippoError
from hippo_messenger.queues.connection import Connection
from hippo_messenger.queues.embedded import EmbeddedServer
from hippo_messenger.queues.layout import BROKER_QUEUE, Layout
from hippo_messenger.queues.overview import Overview, Standing
from hippo_messenger.settings import Settings

__all__ = ["DemoError", "Outcome", "run_demo"]

_BROKERS = ("broker-1", "broker-2")
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_READY_TIME = 40.0
_QUIET_TIME = 20.0
"""After so many seconds in which nothing happens, what is missing counts as missing."""
_STOP_TIME = 30.0
_LOOK = 0.1


class DemoError(HippoError):
    """The demo could not be run to its end; that says nothing about the events."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a demo ended."""

    account: Account
    seconds: float
    """From the first send to the last job."""
    faults: tuple[str, ...]
    """What is wrong with the account, or with what Redis says beside it."""
    kept: Path | None
    """Where ledger and logs are, if there is a fault to look for."""


@dataclass(frozen=True, slots=True)
class _Child:
    name: str
    process: Process
    log: Path


async def run_demo(
    *,
    feed: Sequence[FeedLine],
    feed_file: Path,
    rate: float | None,
    redis: str | None,
    settings: Settings,
    catalogue: str | None,
    on_progress: Callable[[Account], None],
) -> Outcome:
    """Run the demo.

    Args:
        feed: What is sent.
        feed_file: Where it stands, for the processes to read their lines.
        rate: Lines a second; None is as fast as it goes.
        redis: A URL; None is an embedded server of its own. On a server of somebody else it keeps to one prefix, and
            removes all that is under it at the end.
        settings: With a prefix under which nothing else may stand.
        catalogue: Where its processes find the catalogue, as `module:attribute`; None is the shipped one.
        on_progress: Called some times a second.

    Raises:
        ConfigurationError: The prefix is in use.
        RedisError: Redis can't be used.
        EmbeddedServerError: The embedded server can't be started.
        DemoError: A process ended that should not have.
        CancelledError: SIGINT, SIGTERM or SIGHUP came, or the caller cancelled it; nothing is left behind.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(_cancelled_by_signals())
        url = redis or (await stack.enter_async_context(EmbeddedServer.private())).url
        connection = await stack.enter_async_context(_connected(url, settings))
        await stack.enter_async_context(claimed(connection, Layout(settings.prefix)))
        directory = stack.enter_context(_workplace())
        options = ["--feed", str(feed_file), "--events", str(len(feed)), *_optional("--rate", rate)]
        environment = os.environ | {
            "HIPPO_REDIS_URL": url,
            "HIPPO_PREFIX": settings.prefix,
            "HIPPO_CATALOGUE": catalogue or "",
        }
        children = await stack.enter_async_context(_children(directory, options, environment))
        await _until_ready(children, Overview(connection, Layout(settings.prefix)))
        started = time.monotonic()
        _say_go(children)
        entries = await _until_settled(feed, children, LedgerReader(directory), on_progress)
        seconds = time.monotonic() - started
        standings = await _until_idle(connection, settings)
        codes = await _stop(children)
    entries += list(LedgerReader(directory).new_entries())[len(entries) :]
    account = reconcile(feed, entries, ROSTER)
    on_progress(account)
    faults = (*account.faults, *_disagreements(account, standings, settings), *codes)
    if not faults:
        shutil.rmtree(directory)
    return Outcome(account, seconds, faults, directory if faults else None)


@contextmanager
def _cancelled_by_signals() -> Iterator[None]:
    """The first of these signals cancels this task; a second, as `timeout` sends, doesn't cut clearing up short."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def end() -> None:
        if not task.cancelling():
            task.cancel()

    numbers = [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]  # nohup ignores SIGHUP
    for number in numbers:
        loop.add_signal_handler(number, end)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


@contextmanager
def _workplace() -> Iterator[Path]:
    """Where ledger and logs are; gone where the demo is cut off, since nobody is told where that was."""
    directory = Path(tempfile.mkdtemp(prefix="hippo-demo-"))
    try:
        yield directory
    except DemoError:  # it names what is in there
        raise
    except BaseException:
        shutil.rmtree(directory)
        raise


@asynccontextmanager
async def _connected(url: str, settings: Settings) -> AsyncIterator[Connection]:
    connection = Connection.of(url, settings=settings)
    try:
        await connection.open()
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def _children(
    directory: Path, options: Sequence[str], environment: dict[str, str]
) -> AsyncIterator[list[_Child]]:
    """Every process of the demo; none of them outlives the block."""
    children: list[_Child] = []
    try:
        programs = {name: ["hippo_messenger.demo.broker"] for name in _BROKERS} | {
            member.name: ["hippo_messenger.demo.member", member.name, *options, "--ledger", str(directory)]
            for member in ROSTER
        }
        for name, words in programs.items():
            children.append(await _spawn(name, words, directory, environment))
        yield children
    finally:
        for child in children:
            if child.process.returncode is None:
                child.process.kill()
        await asyncio.gather(*(child.process.wait() for child in children))


async def _spawn(name: str, words: Sequence[str], directory: Path, environment: dict[str, str]) -> _Child:
    log = directory / f"{name}.log"
    is_member = name not in _BROKERS
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            *words,
            env=environment,
            stdin=PIPE,  # it stays open until our end, which ends them too, however it comes
            stdout=PIPE if is_member else DEVNULL,
            stderr=file,
            start_new_session=True,  # Ctrl-C goes to us, and we stop them in order
        )
    return _Child(name, process, log)


async def _until_ready(children: Sequence[_Child], overview: Overview) -> None:
    try:
        async with asyncio.timeout(_READY_TIME):
            for child in children:
                if child.process.stdout is not None and await child.process.stdout.readline() != b"ready\n":
                    await child.process.wait()
            await _until_brokers_are_connected(children, overview)
    except TimeoutError:
        logs = children[0].log.parent
        raise DemoError(
            f"the processes were not ready within {_READY_TIME:g} s; is the machine very busy? Their logs: {logs}"
        ) from None


async def _until_brokers_are_connected(children: Sequence[_Child], overview: Overview) -> None:
    """Services are ready with one broker; another that still starts would not end cleanly when it is asked to.

    Where Redis lets nobody ask who is connected, that is not waited for.
    """
    _check_alive(children)
    while (connected := (await overview.standing(BROKER_QUEUE)).workers) is not None and connected < len(_BROKERS):
        await asyncio.sleep(_LOOK)
        _check_alive(children)


def _say_go(children: Sequence[_Child]) -> None:
    for child in children:
        if child.process.stdin is not None:
            child.process.stdin.write(b"go\n")


async def _until_settled(
    feed: Sequence[FeedLine],
    children: Sequence[_Child],
    ledger: LedgerReader,
    on_progress: Callable[[Account], None],
) -> list[Entry]:
    """Wait until every line and every job is accounted for, or nothing happens any more."""
    entries: list[Entry] = []
    quiet_since = time.monotonic()
    while True:
        _check_alive(children)
        new = list(ledger.new_entries())
        entries += new
        began = time.monotonic()
        account = reconcile(feed, entries, ROSTER)
        on_progress(account)
        finished = {entry.by for entry in entries if entry.what == "finished"}
        all_sent = len(finished) == len(ROSTER)
        if new or not all_sent:
            quiet_since = time.monotonic()
        if all_sent and (account.is_settled or time.monotonic() - quiet_since > _QUIET_TIME):
            return entries
        await asyncio.sleep(max(_LOOK, 4 * (time.monotonic() - began)))


async def _until_idle(connection: Connection, settings: Settings) -> list[Standing]:
    """Wait until no queue holds work any more: what is done twice is done twice by now."""
    overview = Overview(connection, Layout(settings.prefix))
    deadline = time.monotonic() + _QUIET_TIME
    while True:
        standings = await overview.standings()
        work = [standing.waiting + standing.active for standing in standings]
        if not any(work) or time.monotonic() > deadline:
            return standings
        await asyncio.sleep(_LOOK)


async def _stop(children: Sequence[_Child]) -> list[str]:
    """Ask every process to end, and say which did not do so cleanly."""
    for child in children:
        child.process.terminate()
    waiting = asyncio.gather(*(child.process.wait() for child in children))
    try:
        codes = await asyncio.wait_for(waiting, _STOP_TIME)
    except TimeoutError:
        return [f"{child.name} did not stop" for child in children if child.process.returncode is None]
    return [f"{child.name} ended with code {code}" for child, code in zip(children, codes, strict=True) if code]


def _check_alive(children: Sequence[_Child]) -> None:
    for child in children:
        code = child.process.returncode
        if code is not None:
            last = child.log.read_text(errors="replace").strip().splitlines()[-1:]
            raise DemoError(f"{child.name} has ended with code {code}: {' '.join(last)} (its log: {child.log})")


def _disagreements(account: Account, standings: Sequence[Standing], settings: Settings) -> list[str]:
    """Where Redis holds something else than the ledger says."""
    by_queue = {standing.queue: standing for standing in standings}
    found = []
    for service in account.services:
        standing = by_queue.get(service.service.value)
        if standing is None or standing.failed != service.dead:
            held = "no queue" if standing is None else f"{standing.failed} dead letters"
            found.append(f"{service.service.value}: the ledger says {service.dead} dead, Redis holds {held}")
    refused = by_queue[BROKER_QUEUE].failed + by_queue[BROKER_QUEUE].rejected
    if refused != min(account.rejected, settings.rejected_count):
        found.append(f"the ledger says {account.rejected} rejected, the broker's queue holds {refused}")
    return found


def _optional(name: str, value: float | None) -> list[str]:
    return [] if value is None else [name, str(value)]
