"""Stock Node workers and ours share one service queue under load, through pauses, failures and killed processes."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import pytest

from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService, OrderSuccess
from hippo_messenger.messenger import HippoMessenger
from hippo_messenger.retry import RetryPolicy
from hippo_messenger.settings import Settings
from hippo_messenger.testing import eventually
from tests.contract.bus import Bus
from tests.interop.peer import node as node_program
from tests.interop.story import EMPTY
from tests.interop.tools import NodeTools

HERE = Path(__file__).parent
CONCURRENCY = 10
ATTEMPTS = 3
LOCK = 3.0


@dataclass(frozen=True)
class Entry:
    """One line that a worker has written."""

    who: str
    id: str
    attempt: int
    what: str


@dataclass
class Crew:
    """Worker processes of both kinds on the queue of account, and the file that all of them write to."""

    bus: Bus
    log: Path
    processes: dict[str, Process] = field(default_factory=dict)

    async def start(self, *names: str) -> None:
        """Workers called node-… and python-…, all at once; they are at work when this comes back."""
        for name in names:
            self.processes[name] = await asyncio.create_subprocess_exec(*self._command(name), stdout=PIPE)
        for name in names:
            output = self.processes[name].stdout
            assert output is not None
            assert await output.readline() == b"ready\n", name

    def _command(self, name: str) -> list[str]:
        bus = self.bus
        if name.startswith("python"):
            words = [bus.url, bus.settings.model_dump_json(), name, str(self.log), str(CONCURRENCY)]
            return [sys.executable, str(HERE / "shared_worker.py"), *words]
        options = {"concurrency": CONCURRENCY, "lockDuration": LOCK * 1000, "maxStalledCount": 9}
        options["stalledInterval"] = bus.settings.worker_stall_check * 1000
        words = [bus.url, bus.settings.prefix, "account", name, str(self.log), json.dumps(options)]
        return [node_program(), str(HERE / "shared_worker.mjs"), *words]

    def entries(self) -> list[Entry]:
        """All that was written so far, in its order."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [Entry(**json.loads(line)) for line in lines]

    def count(self, what: str) -> int:
        return sum(entry.what == what for entry in self.entries())

    def in_hand(self, name: str) -> set[str]:
        """What this worker has begun and not ended."""
        held: set[str] = set()
        for entry in self.entries():
            if entry.who == name:
                (held.add if entry.what == "began" else held.discard)(entry.id)
        return held

    async def done(self, count: int) -> None:
        """Wait until so many jobs were done."""

        async def check() -> None:
            assert self.count("done") >= count

        await eventually(check, timeout=30, interval=0.02)

    async def kill(self, name: str) -> set[str]:
        """Kill a worker at a moment when it has jobs in hand; these."""
        process = self.processes.pop(name)

        async def stopped_amidst() -> None:
            process.send_signal(signal.SIGSTOP)
            if not self.in_hand(name):
                process.send_signal(signal.SIGCONT)
                raise AssertionError(f"{name} has nothing in hand")

        await eventually(stopped_amidst, timeout=30)
        process.kill()
        await process.wait()
        return self.in_hand(name)

    async def stop(self) -> dict[str, int]:
        """Ask all that are left to end; their exit codes."""
        for process in self.processes.values():
            process.terminate()
        return {name: await process.wait() for name, process in self.processes.items()}

    async def kill_all(self) -> None:
        for process in self.processes.values():
            if process.returncode is None:
                process.kill()
                await process.wait()


@pytest.fixture
def settings(prefix: str) -> Settings:
    return Settings(
        prefix=prefix,
        block_timeout=1,
        worker_lock=LOCK,
        worker_stall_check=0.5,
        worker_max_stalls=9,
        completed_count=100_000,
    )


def failures_of(number: int) -> int:
    """Most are done at once; of a hundred nine fail once, two twice, and one as often as it is tried."""
    return {0: ATTEMPTS, 10: 2, 20: 2}.get(number % 100, 1 if number % 11 == 5 else 0)


async def send(sender: HippoMessenger, numbers: Iterable[int]) -> dict[str, int]:
    """One order for each number; event id -> how often it fails."""
    orders = [OrderSuccess(order_id=f"{number}/{failures_of(number)}", total=Decimal(1)) for number in numbers]
    ids = await sender.send_many(orders)
    return {event_id: int(sent.order_id.split("/")[1]) for event_id, sent in zip(ids, orders, strict=True)}


async def while_paused(bus: Bus, crew: Crew, sender: HippoMessenger, numbers: range) -> dict[str, int]:
    """What is in hand ends, or comes back from the dead; what comes and what falls due waits; nothing begins."""

    async def at_rest() -> None:
        assert await bus.count("account", "active") == 0

    await eventually(at_rest, timeout=30)
    assert await bus.count("account", "wait") > 0, "somebody has gone on until nothing was left"
    began = crew.count("began")
    sent = await send(sender, numbers)

    async def all_waits() -> None:
        assert await bus.count("account", "delayed") == 0
        assert await bus.count("account", "wait") >= len(numbers)
        assert await bus.count("broker", "wait") == 0

    await eventually(all_waits, timeout=30)
    await at_rest()
    assert crew.count("began") == began
    return sent


async def play(bus: Bus, node: NodeTools, crew: Crew, sender: HippoMessenger) -> tuple[dict[str, int], set[str]]:
    """Everything that was sent, with how often it fails; and what the killed workers had in hand."""
    await crew.start("node-1", "node-2", "python-1", "python-2")
    sent = await send(sender, range(1200))
    await crew.done(300)
    await node.queue("account", "pause")
    sent |= await while_paused(bus, crew, sender, range(1200, 2000))
    await node.queue("account", "resume")

    exponential = RetryPolicy(attempts=ATTEMPTS, delay=0.04, jitter=0)
    await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS, retry=exponential)
    sent |= await send(sender, range(2000, 3000))
    in_hand = await crew.kill("node-1")
    sent |= await send(sender, range(3000, 3500))
    in_hand |= await crew.kill("python-1")
    meta = bus.queue("account").base + "meta"
    await bus.redis.hset(meta, "paused", 1)
    sent |= await while_paused(bus, crew, sender, range(3500, 4000))
    await bus.redis.hdel(meta, "paused")
    await bus.redis.zadd(bus.queue("account").marker, {"0": 0})

    dead = sum(failures == ATTEMPTS for failures in sent.values())

    async def all_settled() -> None:
        counts = await node.queue("account", "getJobCounts")
        assert counts == {**EMPTY, "completed": len(sent) - dead, "failed": dead}

    await eventually(all_settled, timeout=40, interval=0.05)
    assert await crew.stop() == {"node-2": 0, "python-2": 0}
    return sent, in_hand


def account_for(entries: list[Entry], sent: dict[str, int], in_hand: set[str]) -> None:
    """Each event was tried as often as it should be, and twice only where it had been in a killed worker's hand."""
    began: dict[tuple[str, int], list[str]] = defaultdict(list)
    for entry in entries:
        if entry.what == "began":
            began[entry.id, entry.attempt].append(entry.who)
    expected = {
        (event_id, attempt)
        for event_id, failures in sent.items()
        for attempt in range(1, min(failures + 1, ATTEMPTS) + 1)
    }
    assert began.keys() == expected
    done = {entry.id for entry in entries if entry.what == "done"}
    assert done == {event_id for event_id, failures in sent.items() if failures < ATTEMPTS}

    assert in_hand <= {event_id for (event_id, _), workers in began.items() if len(workers) > 1}
    again = Counter[str]()
    for workers in began.values():
        again.update(workers[:-1])
    assert again.keys() <= {"node-1", "python-1"}
    assert all(count <= CONCURRENCY for count in again.values()), again
    assert {workers[-1] for workers in began.values()} == {"node-1", "node-2", "python-1", "python-2"}


@pytest.mark.interop
@pytest.mark.chaos
async def test_stock_workers_and_ours_share_a_queue_through_pauses_failures_and_kills(
    bus: Bus, node: NodeTools, tmp_path: Path
) -> None:
    await bus.broker()
    fixed = RetryPolicy(attempts=ATTEMPTS, delay=0.05, backoff="fixed", jitter=0)
    await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS, retry=fixed)
    crew = Crew(bus, tmp_path / "log")
    try:
        sent, in_hand = await play(bus, node, crew, bus.messenger(HippoService.ORDER))
    finally:
        await crew.kill_all()

    account_for(crew.entries(), sent, in_hand)
    left = [key.decode() async for key in bus.redis.scan_iter(f"*{bus.settings.prefix[1:-1]}*:lock")]
    assert left == []
    for event_id, failures in sent.items():
        if failures == ATTEMPTS:
            job = await bus.job("account", event_id)
            assert (job["atm"], len(job["stacktrace"])) == (str(ATTEMPTS), ATTEMPTS)
