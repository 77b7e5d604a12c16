"""A populated key space, and one call of every script on it, for the tests that break something."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from redis import Redis

from hippo_messenger.observer import Observer
from hippo_messenger.queues.call import Argument, Caller
from hippo_messenger.queues.connection import Connection
from hippo_messenger.queues.layout import Layout
from hippo_messenger.queues.script import load_script
from hippo_messenger.settings import Settings

__all__ = ["ADD", "CALLS", "HOUR", "WRONG", "Bench", "Call", "KeySpace"]

KeySpace = dict[str, bytes]
"""Key without prefix -> its DUMP."""

HOUR = 3_600_000
TOKEN = "held"
OPTS = '{"attempts":3}'
DATA = '{"source":"order","n":1}'

WRONG: dict[str, tuple[str, ...]] = {
    "string": ("SET", "x"),
    "list": ("RPUSH", "x"),
    "set": ("SADD", "x"),
    "zset": ("ZADD", "1", "x"),
    "hash": ("HSET", "x", "1"),
}
"""Type -> the command that makes a key one of it."""


class Bench:
    """Scripts called on a server under a prefix of the test's own."""

    def __init__(self, url: str, prefix: str) -> None:
        self.url = url
        self.redis: Any = Redis.from_url(url)  # its types allow for text and clusters
        self.layout = Layout(prefix)
        self._connection = Connection.of(url, settings=Settings(prefix=prefix))
        self._caller = Caller(self._connection, observer=Observer())

    async def close(self) -> None:
        """Hang up, and leave nothing: the tests look at the whole key space, so it should stay small."""
        await self._connection.close()
        keys = [*self._keys()]
        for first in range(0, len(keys), 10_000):
            self.redis.unlink(*keys[first : first + 10_000])
        self.redis.close()

    async def call(self, name: str, keys: Sequence[str], arguments: Sequence[Argument]) -> list[object]:
        """As the product calls it: errors are ours."""
        return await self._caller.call(name, keys, arguments, patience=0)

    def run(
        self, name: str, keys: Sequence[str], arguments: Sequence[Argument], *, again: bool = False
    ) -> list[object]:
        """The bare script, which must not raise."""
        words = (*keys, int(again), *arguments)
        reply: list[object] = self.redis.eval(load_script(name).text, len(keys), *words)
        return reply

    def key(self, name: str, *, queue: str = "broker") -> str:
        return self.layout.queue(queue).base + name

    def spoil(self, key: str, kind: str) -> None:
        """Give a key another type."""
        command, *words = WRONG[kind]
        self.redis.delete(key)
        self.redis.execute_command(command, key, *words)

    def kind(self, key: str) -> str:
        return bytes(self.redis.type(key)).decode()

    def space(self, *, without: str | None = None) -> KeySpace:
        """The whole key space; `without` leaves out the keys that begin with it."""
        found: KeySpace = {}
        for key in self._keys():
            name = key.decode(errors="surrogateescape").removeprefix(f"{self.layout.prefix}:")
            if without is None or not name.startswith(without):
                found[name] = bytes(self.redis.dump(key) or b"")
        return found

    def shape(self) -> dict[str, tuple[str, int]]:
        """The key space without its values: type and size of each key."""
        sizes = {"list": "LLEN", "set": "SCARD", "zset": "ZCARD", "hash": "HLEN", "stream": "XLEN", "string": "EXISTS"}
        found: dict[str, tuple[str, int]] = {}
        for name in self.space():
            kind = self.kind(f"{self.layout.prefix}:{name}")
            # The sets of the duplicate window are named by the clock.
            shown = name if not name.startswith("seen:") or name == "seen:clock" else "seen"
            size = self.redis.execute_command(sizes[kind], f"{self.layout.prefix}:{name}")
            found[shown] = (kind, int(size) + (found[shown][1] if shown in found else 0))
        return found

    def failed_at(self, job: str) -> str:
        """The score of a failed job, as text."""
        return format(self.redis.zscore(self.key("failed"), job) or 0, ".17g")

    def places(self, job: str, *, queue: str = "broker") -> list[str]:
        """Where in a queue a job stands."""
        lists = [name for name in ("wait", "active") if self._listed(self.key(name, queue=queue), job)]
        sets = ("prioritized", "delayed", "completed", "failed")
        return lists + [name for name in sets if self.redis.zscore(self.key(name, queue=queue), job) is not None]

    def _keys(self) -> Iterator[bytes]:
        keys: Iterator[bytes] = self.redis.scan_iter(f"{self.layout.prefix}:*", count=10_000)
        return keys

    def _listed(self, key: str, job: str) -> bool:
        return job.encode() in self.redis.lrange(key, 0, -1)

    def add(self, *jobs: Sequence[Argument]) -> list[object]:
        keys = (*self.layout.broker.all, *self.layout.queue("order").all, self.layout.seen)
        return self.run("publish", keys, [1, 600_000, "order", *(word for job in jobs for word in job)])

    def take(self, count: int, *, token: str = TOKEN, again: bool = False) -> list[bytes]:
        """Take jobs of the broker; their ids."""
        reply = self.run("take", self.layout.broker.all, order(count, token=token), again=again)
        return taken_ids(reply[1])

    def populate(self) -> None:
        """Jobs of the broker in every state: held-1 to held-6 are ours."""
        held = [f"held-{number}" for number in range(1, 7)]
        self.add(*(ADD(job) for job in (*held, "done-1", "dead-1", "stalled-1")))
        self.take(9)
        settle = [*outcome("completed", "done-1", value="{}"), *outcome("failed", "dead-1", value="why", number=1)]
        self.run("settle", self.layout.broker.all, [*order(0), *settle])
        self.redis.delete(self.key("stalled-1:lock"))
        self.redis.sadd(self.key("stalled"), "stalled-1")
        self.add(
            ADD("wait-1"),
            ADD("wait-2"),
            ADD("urgent-1", priority=2),
            ADD("later-1", delay=HOUR),
            ADD("due-1", delay=HOUR),
        )
        self.redis.zadd(self.key("delayed"), {"due-1": 1})
        self.redis.hset(self.key("meta"), mapping={"max": 1000, "duration": 1000, "concurrency": 1000})
        self.run("register", CALLS["register"](self).keys, ["account", "{}", 1, "{}"])
        self.redis.set(self.layout.registry_version, 7)


def ADD(  # noqa: N802 - reads as a constant in the tests
    job: str, *, delay: int = 0, priority: int = 0, lifo: bool = False, copy: str = "", data: str = DATA
) -> tuple[Argument, ...]:
    """The arguments of publish for one job."""
    push = "RPUSH" if lifo else "LPUSH"
    return ("ORDER_SUCCESS", OPTS, delay, priority, push, copy, 1, job, data, f"digest-{job}")


def order(count: int, *, token: str = TOKEN) -> list[Argument]:
    return [1, token, 30_000, count, 1 << 40, "", 60]


def outcome(
    kind: str, job: str, *, token: str = TOKEN, value: str = "", number: int = 0, age: str = "", count: str = ""
) -> list[Argument]:
    return [kind, token, value, "[]", number, age, count, 1, job]


def taken_ids(taken: object) -> list[bytes]:
    """The ids in what include/take.lua returns."""
    assert isinstance(taken, list)
    return list(taken[0][::6])


@dataclass(frozen=True)
class Call:
    """One call of a script."""

    name: str
    keys: tuple[str, ...]
    arguments: tuple[Argument, ...]


def _publish(bench: Bench) -> Call:
    keys = (*bench.layout.broker.all, *bench.layout.queue("order").all, bench.layout.seen)
    jobs = (ADD("new-1", copy=OPTS), ADD("new-2"), ADD("held-1"), ADD("new-3", delay=HOUR), ADD("new-4", priority=1))
    return Call("publish", keys, (1, 600_000, "order", *(word for job in jobs for word in job)))


def _take(bench: Bench) -> Call:
    return Call("take", bench.layout.broker.all, tuple(order(10, token="new")))


def _settle(bench: Bench) -> Call:
    outcomes = (
        outcome("completed", "held-1", value="{}", age="60", count="1"),
        outcome("failed", "held-2", value="why", number=1),
        outcome("retry", "held-3", value="why", number=0),
        outcome("retry", "held-4", value="why", number=HOUR),
        outcome("later", "held-5", number=HOUR),
        outcome("back", "held-6"),
    )
    words = [word for words in outcomes for word in words]
    return Call("settle", bench.layout.broker.all, (*order(1, token="new"), *words))


def _route(bench: Bench) -> Call:
    layout = bench.layout
    keys = (*layout.broker.all, layout.registry_version, layout.seen)
    keys += (*layout.queue("account").all, *layout.queue("shipping").all)
    words: list[Argument] = [*order(1, token="new"), 7, 600_000, 3600, 1000, 2, "account", OPTS, "shipping", OPTS]
    words += [1, 2, 1, 2, '{"deliveredTo":["account","shipping"]}']
    words += [1, TOKEN, "", 2, "held-1", "", "digest-held-1", "held-2", "held-2", "digest-held-2"]
    words += [1, TOKEN, '"priority":3', 1, "held-3", "", "digest-held-3"]
    return Call("route", keys, tuple(words))


def _renew(bench: Bench) -> Call:
    return Call("renew", bench.layout.broker.all, (30_000, "held-1", TOKEN, "held-2", TOKEN, "stalled-1", TOKEN))


def _recover(bench: Bench) -> Call:
    broker = bench.layout.broker
    return Call("recover", (*broker.all, broker.stalled_check, broker.scheduler), (1, 1, 60_000))


def _reject(bench: Bench) -> Call:
    return Call(
        "reject", (*bench.layout.broker.all, bench.layout.rejected("broker")), (1, 10, "rejected-1", "X", "{}", "why")
    )


def _register(bench: Bench) -> Call:
    layout = bench.layout
    keys = (layout.registry, layout.registry_counters, layout.registry_version, layout.broker.base + "id")
    own = (layout.registry_changes("billing"), layout.unregistered)
    return Call("register", (*keys, *own), ("billing", '{"serviceName":"billing"}', 2, '{"instance":"one","host":"h"}'))


def _presence(bench: Bench) -> Call:
    layout = bench.layout
    keys = (layout.presence("account"), layout.registry, layout.unregistered, layout.registry_counters)
    return Call("presence", keys, ("account", "one", 60_000))


def _note(bench: Bench) -> Call:
    job = bench.key("held-1")
    return Call("note", (job, f"{job}:logs", bench.key("events")), ("log", "held-1", "a line", 1, 1))


def _progress(bench: Bench) -> Call:
    job = bench.key("held-1")
    return Call("note", (job, f"{job}:logs", bench.key("events")), ("progress", "held-1", "50", 1, ""))


def _registrations(bench: Bench) -> Call:
    return Call("registrations", (bench.layout.registry, bench.layout.registry_version), ())


def _remember(bench: Bench) -> Call:
    lost = f"{bench.layout.prefix}:lost"  # the bench's own registry stands
    return Call("remember", (lost, f"{lost}:version"), ("account", "{}", "billing", "{}"))


def _standings(bench: Bench) -> Call:
    layout = bench.layout
    keys: tuple[str, ...] = ()
    for name in ("broker", "account"):
        keys += (layout.presence(name), layout.registry_changes(name), layout.rejected(name), *layout.queue(name).all)
    return Call("standings", keys, ())


def _unregister(bench: Bench) -> Call:
    layout = bench.layout
    keys = (layout.registry, layout.registry_counters, layout.registry_version, layout.broker.base + "id")
    own = (layout.presence("account"), layout.registry_changes("account"), layout.unregistered)
    of_broker = (layout.broker.scheduler, bench.key("delayed"), bench.key("events"))
    return Call("unregister", (*keys, *own, *of_broker), ("account", "hippo.register.account", 1))


def _sweep(bench: Bench) -> Call:
    broker = bench.layout.broker
    metrics = [f"{broker.base}metrics:{name}" for name in ("completed", "completed:data", "failed", "failed:data")]
    layout = bench.layout
    own = (layout.rejected("broker"), *metrics, layout.redrive("broker"), layout.discarded("broker"))
    return Call("sweep", (*broker.all, broker.stalled_check, *own, layout.registry), (1, "broker", "all", 100))


def _cancel(bench: Bench) -> Call:
    layout = bench.layout
    keys = (*layout.broker.all, *layout.queue("order").all, layout.seen)
    return Call("cancel", keys, (1, 600_000, "later-1", "digest-later-1self"))


def _clock(bench: Bench) -> Call:
    return Call("clock", (bench.layout.version,), ())


def _breaker(bench: Bench) -> Call:
    return Call("breaker", (bench.layout.open_breakers("account"),), ("one", 60_000))


def _breakers(bench: Bench) -> Call:
    return Call("breakers", tuple(bench.layout.open_breakers(name) for name in ("account", "order")), ())


def _pause_at(bench: Bench) -> Call:
    return Call("pause_at", (*bench.layout.broker.all, bench.layout.rejected("broker")), (1, 1))


def _letters(bench: Bench) -> Call:
    return Call("letters", bench.layout.broker.all, (1 << 20, 1, 2, "name", "data", "dead-1", "gone"))


def _letter_ids(bench: Bench) -> Call:
    return Call("letter_ids", (*bench.layout.broker.all, bench.layout.rejected("broker")), ("-inf", "+inf", 10))


def _redriving(bench: Bench) -> Call:
    layout = bench.layout
    return Call(
        "redriving", (layout.redrive_lock("broker"), layout.redrive("broker")), ("begin", TOKEN, 30_000, "by", "us")
    )


def _redrive(bench: Bench) -> Call:
    layout = bench.layout
    bench.redis.hset(layout.redrive("broker"), mapping={"token": TOKEN, "state": "running"})
    keys = (*layout.broker.all, layout.rejected("broker"), layout.redrive_lock("broker"), layout.redrive("broker"))
    return Call("redrive", keys, (1, TOKEN, 30_000, 1, 0, "dead-1", bench.failed_at("dead-1"), "", ""))


def _discard(bench: Bench) -> Call:
    layout = bench.layout
    keys = (*layout.broker.all, layout.rejected("broker"), layout.discarded("broker"))
    return Call("discard", keys, (1, "an act", "why not", "dead-1", bench.failed_at("dead-1")))


def _restore(bench: Bench) -> Call:
    letter = ("old-1", "1700000000000", "1", 4, "name", "ORDER_SUCCESS", "data", DATA, 1, "a line")
    return Call("restore", (*bench.layout.broker.all, bench.layout.rejected("broker")), (1, *letter))


def _backlogs(bench: Bench) -> Call:
    base = bench.layout.queue("account").base
    keys = (bench.layout.full, f"{base}wait", f"{base}prioritized", f"{base}delayed")
    return Call("backlogs", keys, (5000, "account", 0, 1, "ORDER_SUCCESS"))


def _throttle(bench: Bench) -> Call:
    return Call("throttle", bench.layout.broker.all, (50, 2000, ""))


CALLS: dict[str, Callable[[Bench], Call]] = {
    "publish": _publish,
    "take": _take,
    "settle": _settle,
    "route": _route,
    "renew": _renew,
    "recover": _recover,
    "reject": _reject,
    "register": _register,
    "presence": _presence,
    "note": _note,
    "progress": _progress,
    "registrations": _registrations,
    "remember": _remember,
    "standings": _standings,
    "unregister": _unregister,
    "sweep": _sweep,
    "cancel": _cancel,
    "pause_at": _pause_at,
    "letters": _letters,
    "letter_ids": _letter_ids,
    "redriving": _redriving,
    "redrive": _redrive,
    "discard": _discard,
    "restore": _restore,
    "backlogs": _backlogs,
    "throttle": _throttle,
    "clock": _clock,
    "breaker": _breaker,
    "breakers": _breakers,
}
"""One call of each script, on a populated bench."""
