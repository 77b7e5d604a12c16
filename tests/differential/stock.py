"""BullMQ's own Lua, from the package on PyPI or on npm, called as the packages call it: one job a call."""

from __future__ import annotations

import importlib.util
import json
import re
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import msgpack  # type: ignore[import-untyped]
from redis import Redis

from tests.conftest import missing
from tests.differential.steps import Job, Outcome

__all__ = ["Stock", "stock_commands"]

NODE_MODULES = Path(__file__).parent.parent / "interop" / "node_modules"
LOCK = 30_000
METRICS = 60
_INCLUDE = re.compile(r'^--- @include "(.+)"$', re.MULTILINE)


def stock_commands(source: str) -> Path:
    """The folder of the scripts of one package."""
    if source == "npm":
        commands = NODE_MODULES / "bullmq" / "dist" / "cjs" / "commands"
        if not commands.is_dir():
            missing("the npm package bullmq in tests/interop (make node-packages)")
        return commands
    found = importlib.util.find_spec("bullmq")
    if found is None or found.origin is None:
        missing("the PyPI package bullmq")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "commands"


@cache
def _script(commands: Path, name: str) -> tuple[str, int]:
    """The text of a script, its includes put in once each as BullMQ's build does, and its number of keys."""
    (file,) = commands.glob(f"{name}-*.lua")
    included: set[Path] = set()

    def read(path: Path) -> str:
        def piece(match: re.Match[str]) -> str:
            target = (path.parent / f"{match[1]}.lua").resolve()
            if target in included:
                return ""
            included.add(target)
            return read(target)

        return _INCLUDE.sub(piece, path.read_text())

    return read(file), int(file.stem.rpartition("-")[2])


class Stock:
    """One queue, as a stock peer uses it."""

    def __init__(self, client: Redis, commands: Path, *, prefix: str, queue: str) -> None:
        self._client = client
        self._commands = commands
        self._prefix = prefix
        self.base = f"{prefix}:{queue}:"

    def add(self, job: Job) -> str:
        if job.delay:
            name, keys = "addDelayedJob", "marker meta id delayed completed events"
        elif job.priority:
            name, keys = "addPrioritizedJob", "marker meta id prioritized delayed completed active events pc"
        else:
            name, keys = "addStandardJob", "wait paused meta id completed delayed active events marker"
        return self._add(name, keys, job)

    def add_parent(self, job: Job) -> str:
        return self._add("addParentJob", "meta id delayed waiting-children completed events", job)

    def take(self, token: str, *, worker: str = "") -> str | None:
        """The id of the job that was taken."""
        keys = "wait active prioritized events stalled limiter delayed paused meta pc marker"
        return _taken(self._call("moveToActive", keys, self.base, _now(), self._opts(token, worker)))

    def settle(self, outcome: Outcome, token: str, *, fetch: bool = False) -> str | None:
        """End a job; with `fetch` take the next under the same token: its id."""
        if outcome.kind in ("completed", "failed"):
            return self._finish(outcome, token, fetch)
        job, fields = self.base + outcome.id, b""
        if outcome.kind == "back":
            keys = "active wait stalled paused meta limiter prioritized marker events"
            self._call("moveJobFromActiveToWait", keys, outcome.id, token, job)
            return None
        if outcome.kind == "retry":
            fields = msgpack.packb(["failedReason", outcome.value, "stacktrace", json.dumps([outcome.value])])
        if outcome.kind == "retry" and outcome.number == 0:
            opts = json.loads(str(self._client.hget(job, "opts")))
            keys = f"active wait paused {outcome.id} meta events delayed prioritized pc marker stalled"
            push = "RPUSH" if opts.get("lifo") else "LPUSH"
            self._call("retryJob", keys, self.base, _now(), push, outcome.id, token, fields)
            return None
        keys = f"marker active prioritized delayed {outcome.id} events meta stalled wait limiter pc"
        skip_attempt = "1" if outcome.kind == "later" else "0"
        words = (self.base, _now(), outcome.id, token, outcome.number, skip_attempt, fields)
        return _taken(self._call("moveToDelayed", keys, *words, "1" if fetch else "0", self._opts(token, "")))

    def _finish(self, outcome: Outcome, token: str, fetch: bool) -> str | None:
        keep = {"count": outcome.count, "age": outcome.age}
        keep = {name: limit for name, limit in keep.items() if limit is not None} or {"count": -1}
        # One token for both: it lets go of this job, and holds the next.
        opts = {
            "token": token,
            "keepJobs": keep,
            "lockDuration": LOCK,
            "attempts": outcome.number,
            "maxMetricsSize": METRICS,
        }
        fields, field = b"", "returnvalue"
        if outcome.kind == "failed":
            fields, field = msgpack.packb(["stacktrace", json.dumps([outcome.value])]), "failedReason"
        keys = f"wait active prioritized events stalled limiter delayed paused meta pc {outcome.kind} {outcome.id}"
        words = (outcome.id, _now(), field, outcome.value, outcome.kind, "1" if fetch else "", self.base)
        keys = f"{keys} metrics:{outcome.kind} marker"
        return _taken(self._call("moveToFinished", keys, *words, msgpack.packb(opts), fields))

    def renew(self, tokens: dict[str, str]) -> list[str]:
        """Renew the locks of jobs; the ids of those that are lost."""
        packed = msgpack.packb(list(tokens.values())), msgpack.packb(list(tokens))
        return _texts(self._call("extendLocks", "stalled", self.base, *packed, LOCK))

    def log(self, job: str, line: str) -> None:
        keep = json.loads(str(self._client.hget(self.base + job, "opts"))).get("kl", "")
        self._call("addLog", f"{job} {job}:logs", job, line, keep)

    def progress(self, job: str, words: str) -> None:
        self._call("updateProgress", f"{job} events meta", job, words)

    def pause(self) -> None:
        self._call("pause", "wait paused meta prioritized events delayed marker", "paused", "1")

    def recover(self, max_stalls: int) -> list[str]:
        keys = "stalled wait active stalled-check meta paused marker events repeat"
        return _texts(self._call("moveStalledJobsToWait", keys, max_stalls, self.base, _now(), 60_000))

    def redrive(self, job: str) -> None:
        """As `job.retry("failed", {resetAttemptsMade: true, resetAttemptsStarted: true})`."""
        opts = json.loads(str(self._client.hget(self.base + job, "opts")))
        push = "RPUSH" if opts.get("lifo") else "LPUSH"
        keys = f"{job} events failed wait meta active marker prioritized pc"
        self._call("reprocessJob", keys, job, push, "failedReason", "failed", "1", "1")

    def remove(self, job: str) -> None:
        self._call("removeJob", f"{job} repeat", job, "0", self.base)

    def _add(self, name: str, keys: str, job: Job) -> str:
        parent_key = parent = dependencies = None
        if job.parent is not None:
            queue, parent_id = job.parent
            parent_key = f"{self._prefix}:{queue}:{parent_id}"
            dependencies = f"{parent_key}:dependencies"
            flags = {flag: True for flag in ("fpof", "cpof", "idof", "rdof") if job.opts.get(flag)}
            parent = {"id": parent_id, "queueKey": f"{self._prefix}:{queue}", **flags}
        deduplication = job.opts.get("de")
        de_key = f"{self.base}de:{deduplication['id']}" if isinstance(deduplication, dict) else None
        words = [self.base, job.id, job.name, _now(), parent_key, dependencies, parent, job.scheduler, de_key]
        reply = self._call(name, keys, msgpack.packb(words), job.data, msgpack.packb(job.stored_opts))
        assert not isinstance(reply, int), f"{name} answered {reply}"
        return str(reply)

    def _opts(self, token: str, worker: str) -> bytes:
        opts: dict[str, object] = {"token": token, "lockDuration": LOCK}
        if worker:
            opts["name"] = worker
        return bytes(msgpack.packb(opts))

    def _call(self, name: str, keys: str, *arguments: str | int | bytes) -> object:
        text, number_of_keys = _script(self._commands, name)
        names = [self.base + key for key in keys.split()]
        assert len(names) == number_of_keys, name
        reply: object = self._client.eval(text, len(names), *names, *arguments)
        assert not (isinstance(reply, int) and reply < 0), f"{name} answered {reply}"
        return reply


def _taken(reply: object) -> str | None:
    if isinstance(reply, Sequence) and len(reply) > 1 and reply[1]:
        return str(reply[1])
    return None


def _texts(reply: object) -> list[str]:
    assert isinstance(reply, list)
    return [str(value) for value in reply]


def _now() -> int:
    return round(time.time() * 1000)
