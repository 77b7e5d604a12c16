"""The processes of the chaos: each behind a proxy of its own, started again when it was killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hippo_messenger.settings import Settings
from hippo_messenger.testing.proxy import Proxy
from tests.chaos.roster import SLOTS, Part

__all__ = ["Crew", "Ending", "Member"]

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Ending:
    """How one process of a member ended."""

    by: str
    at: float
    how: Literal["killed", "stopped", "by itself"]
    code: int


@dataclass
class Member:
    """One part, whose processes follow each other."""

    part: Part
    proxy: Proxy
    generation: int = 0
    process: Process | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    paused: asyncio.Event = field(default_factory=asyncio.Event)
    ending: Literal["killed", "stopped"] | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def instance(self) -> str:
        return f"{self.part.name}.{self.generation:03d}"

    def send_signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def say(self, command: str) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(command.encode() + b"\n")


class Crew:
    """Starts, ends and watches over all members."""

    def __init__(self, url: str, settings: Settings, logs: Path, *, rate: float, node: str | None) -> None:
        self._url = url
        self._settings = settings
        self._logs = logs
        self._rate = rate
        self._node = node
        self._watching: set[asyncio.Task[None]] = set()
        self.members: dict[str, Member] = {}
        self.endings: list[Ending] = []

    async def add(self, part: Part) -> None:
        """Start a part, behind a proxy of its own."""
        proxy = Proxy(self._url)
        await proxy.start()
        self.members[part.name] = Member(part, proxy)
        await self.start(part.name)

    async def start(self, name: str) -> None:
        """Start the next process of a member; it is ready some time later."""
        member = self.members[name]
        member.generation += 1
        member.ready, member.paused, member.ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
        member.ending = None
        variables = {f"HIPPO_{key.upper()}": str(value) for key, value in self._settings.model_dump().items()}
        with (self._logs / f"{member.instance}.err").open("wb") as errors:
            member.process = await asyncio.create_subprocess_exec(
                *self._command(member),
                stdin=PIPE,
                stdout=PIPE,
                stderr=errors,
                cwd=REPOSITORY,
                env={**os.environ, **variables, "HIPPO_REDIS_URL": member.proxy.url},
            )
        watching = asyncio.create_task(self._watch(member, member.process, member.instance))
        self._watching.add(watching)
        watching.add_done_callback(self._watching.discard)

    async def kill(self, name: str) -> None:
        """SIGKILL."""
        member = self.members[name]
        member.ending = member.ending or "killed"
        member.send_signal(signal.SIGKILL)
        await member.ended.wait()

    async def stop(self, name: str) -> None:
        """SIGTERM, once it is ready, and the end that follows."""
        member = self.members[name]
        await member.ready.wait()
        member.ending = "stopped"
        member.send_signal(signal.SIGTERM)
        await member.ended.wait()

    async def pause_senders(self) -> None:
        """Return when no event is being sent."""
        for member in self.of_kind("sender"):
            await member.ready.wait()
            member.paused.clear()
            member.say("pause")
        for member in self.of_kind("sender"):
            await member.paused.wait()

    def let_senders_go(self) -> None:
        for member in self.of_kind("sender"):
            member.say("go")

    async def finish_senders(self) -> None:
        """Let every sender send what it has begun to, and end."""
        senders = self.of_kind("sender")
        for member in senders:
            await member.ready.wait()
            member.ending = "stopped"
            member.say("finish")
        for member in senders:
            await member.ended.wait()

    def of_kind(self, *kinds: str) -> list[Member]:
        return [member for member in self.members.values() if member.part.kind in kinds]

    async def close(self) -> None:
        """Kill what still runs."""
        for member in self.members.values():
            if member.process is not None and member.process.returncode is None:
                await self.kill(member.part.name)
            await member.proxy.stop()

    def _command(self, member: Member) -> list[str]:
        part, log = member.part, str(self._logs / f"{member.instance}.log")
        service = part.service.value if part.service is not None else "-"
        if part.kind == "node":
            assert self._node is not None
            settings = self._settings
            options = {"concurrency": SLOTS, "lockDuration": settings.worker_lock * 1000}
            options |= {"stalledInterval": settings.worker_stall_check * 1000, "maxStalledCount": 1000}
            worker = str(Path(__file__).with_name("node_worker.mjs"))
            return [self._node, worker, member.proxy.url, settings.prefix, service, log, json.dumps(options)]
        senders = max(sum(other.part.kind == "sender" for other in self.members.values()), 2)
        return [sys.executable, "-m", "tests.chaos.member", part.kind, service, log, str(self._rate / senders)]

    async def _watch(self, member: Member, process: Process, instance: str) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            if line == b"ready\n":
                member.ready.set()
            elif line == b"paused\n":
                member.paused.set()
        code = await process.wait()
        self.endings.append(Ending(instance, time.time(), member.ending or "by itself", code))
        member.ended.set()
        if member.ending is None:  # as a supervisor would
            await self.start(member.part.name)
