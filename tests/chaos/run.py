"""Breaks a whole running system on purpose, by a seeded plan, and accounts for every event in every service.

    python -m tests.chaos.run [--seconds 1260] [--faults 220] [--rate 190] [--seed N] [--defaults] [--without KIND]

Exit code 0 says: nothing was lost, nothing was delivered twice, and each second processing has its cause.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.account import Account
from tests.chaos.backlog import behind_a_backlog
from tests.chaos.crew import Crew
from tests.chaos.faults import REDIS, Fault, Faults
from tests.chaos.log import LogReader
from tests.chaos.recovery import recoveries
from tests.chaos.report import Progress, named, rows, shown
from tests.chaos.roster import ROSTER, default_settings, short_settings
from tests.chaos.schedule import WEIGHTS, Planned, plan
from tests.chaos.server import Server

BULLMQ = Path(__file__).parents[1] / "interop" / "node_modules" / "bullmq"
LOOK = 0.25
HELD_UP = 0.5
PREFIX = "{chaos}"


@dataclass(frozen=True)
class Asked:
    """What the run is to be like."""

    seconds: float
    faults: int
    rate: float
    seed: int
    defaults: bool
    without: frozenset[str]
    keep: bool
    backlog: int


@dataclass
class Chaos:
    """One run."""

    asked: Asked
    directory: Path
    account: Account = field(default_factory=Account)
    stopped_badly: list[str] = field(default_factory=list)

    async def run(self) -> bool:
        """Whether all is accounted for."""
        asked = self.asked
        settings = default_settings(PREFIX) if asked.defaults else short_settings(PREFIX)
        logs = self.directory / "logs"
        logs.mkdir(parents=True)
        reader = LogReader(logs)
        node = shutil.which("node") if BULLMQ.is_dir() else None
        async with AsyncExitStack() as stack:
            server = Server(self.directory)
            stack.push_async_callback(server.close)
            await server.start()
            without = asked.without | self._impossible(server, node)
            crew = Crew(server.url, settings, logs, rate=asked.rate, node=node)
            stack.push_async_callback(crew.close)
            await self._assemble(crew, with_node=node is not None)
            faults = Faults(server, crew, settings)
            planned = plan(asked.seed, count=asked.faults, seconds=asked.seconds, without=without)
            watching = asyncio.create_task(self._watch_ourselves(faults))
            stack.callback(watching.cancel)
            await self._go_on_until_done(faults, planned, reader)
            await crew.finish_senders()
            longest = settings.worker_lock + settings.worker_stall_check
            idle = await self._until_all_is_processed(faults, reader, patience=60 + 4 * longest)
            for member in crew.of_kind("worker", "node", "broker"):
                await crew.stop(member.part.name)
            self.account.add(reader.new_entries())
            backlog = [await behind_a_backlog(server.url, jobs=asked.backlog)] if asked.backlog else []
            self.stopped_badly = [
                f"{ending.by} ended {ending.how} with exit code {ending.code}: see {logs / ending.by}.err"
                for ending in crew.endings
                if ending.how == "by itself" or (ending.how == "stopped" and ending.code != 0)
            ]
        self._keep_what_happened(crew, faults)
        verdict = self.account.close(crew.endings, faults.done)
        table = rows(verdict, self.account, faults.done)
        measured = recoveries(self.account, crew.endings, faults.done, faults.back, lock=longest)
        print(shown(table, verdict, [*measured, *backlog]))
        wrong = [*named(verdict), *self.stopped_badly, *faults.shortfalls, *idle]
        for what in wrong:
            print(f"WRONG: {what}")
        return not wrong

    async def _assemble(self, crew: Crew, *, with_node: bool) -> None:
        """Senders last: what is sent before a service has registered is not for it."""
        for is_sender in (False, True):
            for part in ROSTER:
                if (part.kind == "sender") == is_sender and (part.kind != "node" or with_node):
                    await crew.add(part)
            for member in crew.members.values():
                await asyncio.wait_for(member.ready.wait(), 60)

    async def _watch_ourselves(self, faults: Faults) -> None:
        """The proxies are in this process: while it is held up, nobody reaches Redis, and that counts as a fault."""
        while True:
            began = time.time()
            await asyncio.sleep(LOOK)
            if (now := time.time()) - began > LOOK + HELD_UP:
                faults.done.append(Fault("chaos itself held up", (REDIS,), began + LOOK, now))

    def _keep_what_happened(self, crew: Crew, faults: Faults) -> None:
        """Beside the logs of the processes, for whoever looks into them."""
        happened = [
            *(
                (fault.began, f"{fault.kind} of {' '.join(fault.targets) or '-'}, {fault.ended - fault.began:.3f} s")
                for fault in faults.done
            ),
            *((ending.at, f"{ending.by} ended {ending.how} with exit code {ending.code}") for ending in crew.endings),
        ]
        lines = [f"{at:.6f} {what}\n" for at, what in sorted(happened)]
        (self.directory / "happened.txt").write_text("".join(lines))

    def _impossible(self, server: Server, node: str | None) -> frozenset[str]:
        """The faults that this machine doesn't allow, said by name."""
        left_out = set()
        if not server.has_own_disk:
            print("left out: full disk (this user may not mount a small disk)")
            left_out.add("full disk")
        if node is None:
            print("left out: kill Node worker, stop Node worker (no Node, or `make node-packages` was not run)")
            left_out |= {"kill Node worker", "stop Node worker"}
        return frozenset(left_out)

    async def _go_on_until_done(self, faults: Faults, planned: Sequence[Planned], reader: LogReader) -> None:
        start = time.monotonic()
        under_way: dict[asyncio.Task[None], str] = {}
        left = list(planned)
        progress = Progress(faults=len(planned), seconds=self.asked.seconds)
        progress.start()
        try:
            while (passed := time.monotonic() - start) < self.asked.seconds or left or under_way:
                while left and left[0].at <= passed:
                    fault = left.pop(0)
                    under_way[asyncio.create_task(faults.inject(fault))] = fault.kind
                for task in [task for task in under_way if task.done()]:
                    del under_way[task]
                    task.result()
                self.account.add(reader.new_entries())
                progress.show(passed, self.account, faults.done, tuple(under_way.values()))
                await asyncio.sleep(LOOK)
        finally:
            progress.stop()

    async def _until_all_is_processed(self, faults: Faults, reader: LogReader, *, patience: float) -> list[str]:
        """Wait until nothing is outstanding and no queue holds anything any more; what is left when patience ends."""
        deadline = time.monotonic() + patience
        while True:
            self.account.add(reader.new_entries())
            try:
                await faults.idle()
                if not self.account.outstanding:
                    return []
                left = f"{len(self.account.outstanding):,} events are outstanding, though every queue is empty"
            except AssertionError as error:
                left = str(error)
            if time.monotonic() > deadline:
                return [f"after {patience:.0f} s without a fault {left}"]
            await asyncio.sleep(LOOK)


def _asked() -> Asked:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1260, help="how long faults are done")
    parser.add_argument("--faults", type=int, default=220, help="how many")
    parser.add_argument("--rate", type=float, default=190, help="events a second")
    parser.add_argument("--seed", type=int, default=None, help="of an earlier run, to do the same again")
    parser.add_argument("--defaults", action="store_true", help="with the locks that are the default, not short ones")
    parser.add_argument("--without", action="append", default=[], choices=sorted(WEIGHTS), metavar="KIND")
    parser.add_argument("--keep", action="store_true", help="keep the logs of a run that went well, too")
    parser.add_argument(
        "--backlog", type=int, default=100_000, help="jobs behind which a graceful stop is timed; 0: not"
    )
    found = parser.parse_args()
    return Asked(
        seconds=found.seconds,
        faults=found.faults,
        rate=found.rate,
        seed=secrets.randbelow(1_000_000) if found.seed is None else found.seed,
        defaults=found.defaults,
        without=frozenset(found.without),
        keep=found.keep,
        backlog=found.backlog,
    )


async def _until_asked_to_end(chaos: Chaos) -> bool:
    """Clear up at SIGTERM, too: processes and a mounted disk would stay."""
    running = asyncio.create_task(chaos.run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    return await running


def main() -> int:
    """Run, report, and keep the logs of what went wrong."""
    gc.disable()  # the account has no cycles, and to look for some in it would hold up the proxies for seconds
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # connections that break are what this is about
    asked = _asked()
    directory = Path(tempfile.mkdtemp(prefix="hippo-chaos-"))
    print(
        f"seed {asked.seed}: {asked.faults} faults in {asked.seconds:.0f} s at {asked.rate:.0f} events/s, "
        f"{'default' if asked.defaults else 'short'} locks",
        flush=True,
    )
    is_well = False
    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
        is_well = asyncio.run(_until_asked_to_end(Chaos(asked, directory)))
    if is_well and not asked.keep:
        shutil.rmtree(directory)
    else:
        print(f"logs: {directory}")
    print(
        "every event is accounted for" if is_well else f"NOT every event is accounted for; again: --seed {asked.seed}"
    )
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
