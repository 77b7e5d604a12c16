"""What is done to a running system; each fault hits its targets alone, and holds them until it is over."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from random import Random

from hippo_messenger.queues.layout import Layout
from hippo_messenger.settings import Settings
from hippo_messenger.testing.eventually import eventually
from tests.chaos.crew import Crew
from tests.chaos.roster import LISTENERS
from tests.chaos.schedule import Planned
from tests.chaos.server import Server

__all__ = ["REDIS", "Fault", "Faults"]

REDIS = "redis"
_EVERYBODY = "everybody"
QUEUES = ("broker", *LISTENERS, "order")
PATIENCE = 120.0

Act = Callable[[Random, tuple[str, ...]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault that was done."""

    kind: str
    targets: tuple[str, ...]
    """Whom it kept from settling: members, or Redis, and so everybody; nobody where all was done in good order."""
    began: float
    ended: float


class Faults:
    """Does harm, and remembers what, to whom and when."""

    def __init__(self, server: Server, crew: Crew, settings: Settings) -> None:
        self._server = server
        self._crew = crew
        self._settings = settings
        self._layout = Layout(settings.prefix)
        self._held: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._acts: Mapping[str, tuple[tuple[str, ...], Act]] = {
            "kill worker": (("worker",), self._kill),
            "kill broker": (("broker",), self._kill),
            "kill sender": (("sender",), self._kill),
            "kill Node worker": (("node",), self._kill),
            "SIGTERM worker": (("worker", "node"), self._replace),
            "stop worker": (("worker",), self._stop_for_a_while),
            "stop broker": (("broker",), self._stop_for_a_while),
            "stop Node worker": (("node",), self._stop_for_a_while),
            "drop replies": (("broker", "worker", "sender"), self._drop_replies),
            "cut connections": (("broker", "worker", "sender", "node"), self._cut),
            "slow replies": (("broker", "worker", "sender", "node"), self._slow_replies),
            "half-open": (("broker", "worker", "sender"), self._half_open),
            "kill Redis": ((REDIS,), self._kill_redis),
            "restart Redis": ((REDIS,), self._restart_redis),
            "stall Redis": ((REDIS,), self._stall_redis),
            "DEBUG SLEEP": ((REDIS,), self._debug_sleep),
            "CLIENT KILL": ((REDIS,), self._client_kill),
            "SCRIPT FLUSH": ((REDIS,), self._script_flush),
            "out of memory": ((REDIS,), self._out_of_memory),
            "full disk": ((REDIS,), self._full_disk),
            "FLUSHALL when idle": ((_EVERYBODY,), self._flush_when_idle),
            "rolling restart": ((_EVERYBODY,), self._rolling_restart),
        }
        self.done: list[Fault] = []
        self.back: list[float] = []
        """When Redis answered again after each of its restarts."""
        self.shortfalls: list[str] = []
        """What a fault itself found wrong."""

    async def inject(self, planned: Planned) -> None:
        """Do one fault, from its beginning until what it did is undone."""
        random = Random(planned.seed)
        kinds, act = self._acts[planned.kind]
        targets = self._targets(random, kinds)
        async with AsyncExitStack() as stack:
            for name in sorted(targets):
                await stack.enter_async_context(self._held[name])
            began = time.time()
            try:
                await act(random, targets)
            except (AssertionError, TimeoutError) as error:
                self.shortfalls.append(f"{planned.kind}: {str(error) or type(error).__name__}")
            hit = () if _EVERYBODY in kinds else targets
            self.done.append(Fault(planned.kind, hit, began, time.time()))

    def _targets(self, random: Random, kinds: Iterable[str]) -> tuple[str, ...]:
        if REDIS in kinds:
            return (REDIS,)
        if _EVERYBODY in kinds:
            return (REDIS, *self._crew.members)
        return (random.choice([member.part.name for member in self._crew.of_kind(*kinds)]),)

    async def _kill(self, random: Random, targets: tuple[str, ...]) -> None:
        (name,) = targets
        await self._crew.kill(name)
        await asyncio.sleep(random.random())
        await self._crew.start(name)

    async def _replace(self, random: Random, targets: tuple[str, ...]) -> None:
        """As in a deploy: it finishes what it can, and puts the rest back."""
        (name,) = targets
        async with asyncio.timeout(PATIENCE):
            await self._crew.stop(name)
            await asyncio.sleep(random.random())
            await self._crew.start(name)

    async def _stop_for_a_while(self, random: Random, targets: tuple[str, ...]) -> None:
        """Longer than its lock lasts, so that others take over what it holds."""
        member = self._crew.members[targets[0]]
        lock = self._settings.broker_lock if member.part.kind == "broker" else self._settings.worker_lock
        process = member.process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(lock * random.uniform(1.1, 1.8))
        process.send_signal(signal.SIGCONT)

    async def _drop_replies(self, random: Random, targets: tuple[str, ...]) -> None:
        proxy = self._crew.members[targets[0]].proxy
        for _ in range(random.randint(1, 4)):
            proxy.drop_replies(1)
            await asyncio.sleep(random.uniform(0.1, 0.4))
        proxy.drop_replies(0)

    async def _cut(self, random: Random, targets: tuple[str, ...]) -> None:
        proxy = self._crew.members[targets[0]].proxy
        for _ in range(random.randint(1, 5)):
            proxy.cut()
            await asyncio.sleep(random.uniform(0, 0.3))
        if random.random() < 0.5:  # and nothing in its place for longer than a lock
            proxy.refuse(on=True)
            await asyncio.sleep(self._settings.broker_lock * random.uniform(0.2, 1.5))
            proxy.refuse(on=False)

    async def _slow_replies(self, random: Random, targets: tuple[str, ...]) -> None:
        proxy = self._crew.members[targets[0]].proxy
        proxy.delay(random.uniform(0.05, 0.6))
        await asyncio.sleep(3)
        proxy.delay(0)

    async def _half_open(self, random: Random, targets: tuple[str, ...]) -> None:
        self._crew.members[targets[0]].proxy.half_open()
        await asyncio.sleep(self._settings.call_timeout + random.random())

    async def _kill_redis(self, random: Random, targets: tuple[str, ...]) -> None:
        await self._replace_redis(signal.SIGKILL, random.random())

    async def _restart_redis(self, random: Random, targets: tuple[str, ...]) -> None:
        await self._replace_redis(signal.SIGTERM, random.random() * 3)

    async def _replace_redis(self, number: signal.Signals, pause: float) -> None:
        await self._server.end(number)
        await asyncio.sleep(pause)
        self.back.append(await self._server.start())

    async def _stall_redis(self, random: Random, targets: tuple[str, ...]) -> None:
        self._server.send_signal(signal.SIGSTOP)
        await asyncio.sleep(random.uniform(0.3, 1.5 * self._settings.call_timeout))
        self._server.send_signal(signal.SIGCONT)

    async def _debug_sleep(self, random: Random, targets: tuple[str, ...]) -> None:
        await self._server.client.execute_command("DEBUG", "SLEEP", random.uniform(0.2, 2.5))

    async def _client_kill(self, random: Random, targets: tuple[str, ...]) -> None:
        await self._server.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    async def _script_flush(self, random: Random, targets: tuple[str, ...]) -> None:
        await self._server.client.script_flush()

    async def _out_of_memory(self, random: Random, targets: tuple[str, ...]) -> None:
        used = int((await self._server.client.info("memory"))["used_memory"])
        await self._server.client.config_set("maxmemory", used + random.randint(1, 200_000))
        await asyncio.sleep(random.uniform(1, 4))
        await self._server.client.config_set("maxmemory", 0)

    async def _full_disk(self, random: Random, targets: tuple[str, ...]) -> None:
        await self._server.fill_disk()
        await asyncio.sleep(random.uniform(1, 4))
        await self._server.clear_disk()
        await eventually(self._writes_again, timeout=PATIENCE, interval=0.05)
        # Redis 7.0 takes back what it has half written, but not its place in a file that a rewrite has opened: it
        # leaves a hole of zeros, and could not load the file. A new rewrite mends that.
        await self._server.client.bgrewriteaof()
        await eventually(self._has_rewritten, timeout=PATIENCE, interval=0.05)

    async def _writes_again(self) -> None:
        assert (await self._server.client.info("persistence"))["aof_last_write_status"] == "ok"

    async def _has_rewritten(self) -> None:
        facts = await self._server.client.info("persistence")
        assert not facts["aof_rewrite_in_progress"]
        assert not facts["aof_rewrite_scheduled"]
        assert facts["aof_last_bgrewrite_status"] == "ok"

    async def _flush_when_idle(self, random: Random, targets: tuple[str, ...]) -> None:
        await asyncio.wait_for(self._crew.pause_senders(), PATIENCE)
        await eventually(self.idle, timeout=PATIENCE, interval=0.05)
        await self._server.client.flushall()
        await eventually(self._everybody_is_registered, timeout=PATIENCE, interval=0.05)
        self._crew.let_senders_go()

    async def idle(self) -> None:
        """Asserts that no job waits or is under way; a scheduler's next ticks don't count."""
        for queue in QUEUES:
            base = self._layout.queue(queue).base
            ticks = sum(
                member.startswith(b"repeat:") for member in await self._server.client.zrange(base + "delayed", 0, 99)
            )
            left = {
                "wait": await self._server.client.llen(base + "wait"),
                "active": await self._server.client.llen(base + "active"),
                "prioritized": await self._server.client.zcard(base + "prioritized"),
                "delayed": await self._server.client.zcard(base + "delayed") - ticks,
            }
            assert not any(left.values()), f"{queue} still has {left}"

    async def _everybody_is_registered(self) -> None:
        known = {name.decode() for name in await self._server.client.hkeys(self._layout.registry)}
        assert known >= {*LISTENERS, "order"}, f"registered are only {sorted(known)}"

    async def _rolling_restart(self, random: Random, targets: tuple[str, ...]) -> None:
        """One after the other ends by SIGTERM, as it should, and is replaced."""
        for name in self._crew.members:
            async with asyncio.timeout(PATIENCE):
                await self._crew.stop(name)
                await self._crew.start(name)
                await self._crew.members[name].ready.wait()
