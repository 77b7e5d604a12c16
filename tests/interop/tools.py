"""What looks at queues and acts on them: stock BullMQ in Node and in Python, called by the names of its own methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import bullmq
import redis.asyncio

from tests.interop.peer import Peer

__all__ = ["NodeTools", "PythonTools", "Refused", "Tools"]


_SHOWN = (
    *("id", "name", "data", "opts", "progress", "delay", "priority", "timestamp", "attemptsMade", "failedReason"),
    *("stacktrace", "returnvalue", "finishedOn", "processedOn"),
)


class Refused(Exception):
    """A tool said no; the message is BullMQ's own."""


class Tools(Protocol):
    """One tool: methods are named as Node has them, results are what JSON can say."""

    async def queue(self, name: str, method: str, *arguments: Any) -> Any:
        """What a method of the queue gives."""
        ...

    async def job(self, name: str, job_id: str, method: str, *arguments: Any) -> Any:
        """What a method of one of its jobs gives."""
        ...

    async def look(self, name: str, job_id: str) -> dict[str, Any]:
        """One job as BullMQ shows it, with its state."""
        ...


class NodeTools:
    """BullMQ in a Node process of its own."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    @classmethod
    async def start(cls, url: str, prefix: str, *, package: str = "bullmq") -> NodeTools:
        """Of this version of BullMQ, by its name in package.json."""
        return cls(await Peer.start(url, prefix, package, script="tools.mjs"))

    async def close(self) -> None:
        await self.peer.stop()

    async def tell(self, action: str, **words: Any) -> Any:
        said = await self.peer.tell(action, **words)
        if "error" in said:
            raise Refused(said["error"])
        return said["result"]

    async def queue(self, name: str, method: str, *arguments: Any) -> Any:
        return await self.tell("queue", name=name, method=method, args=arguments)

    async def job(self, name: str, job_id: str, method: str, *arguments: Any) -> Any:
        return await self.tell("job", name=name, id=job_id, method=method, args=arguments)

    async def look(self, name: str, job_id: str) -> dict[str, Any]:
        found: dict[str, Any] = await self.tell("job", name=name, id=job_id)
        return found

    async def events(self, *, until: str, job_id: str | None = None) -> list[dict[str, Any]]:
        """The events of all queues that it listens to, so far; waits for one of this kind first."""
        await self.peer.until(
            lambda said: said.get("event") == until and (job_id is None or said.get("jobId") == job_id)
        )
        return [said for said in self.peer.said if "event" in said]


class PythonTools:
    """BullMQ's Python package, in this process."""

    _NAMES: Mapping[str, str] = {"getWorkers": "get_workers", "getWorkersCount": "get_workers_count"}

    def __init__(self, url: str, prefix: str) -> None:
        self._client = redis.asyncio.Redis.from_url(url, decode_responses=True)
        self._prefix = prefix
        self._queues: dict[str, Any] = {}

    async def queue(self, name: str, method: str, *arguments: Any) -> Any:
        found = getattr(self._queue(name), self._NAMES.get(method, method))
        if method == "obliterate":
            arguments = tuple(options["force"] for options in arguments)
        return _plain(await _refusing(found(*arguments)))

    async def job(self, name: str, job_id: str, method: str, *arguments: Any) -> Any:
        job = await self._queue(name).getJob(job_id)
        assert job is not None, f"no job {job_id} in {name}"
        return _plain(await _refusing(getattr(job, method)(*arguments)))

    async def look(self, name: str, job_id: str) -> dict[str, Any]:
        job = await self._queue(name).getJob(job_id)
        return {**_shown(job), "state": await job.getState()}

    async def close(self) -> None:
        await self._client.aclose()

    def _queue(self, name: str) -> Any:
        if name not in self._queues:
            self._queues[name] = bullmq.Queue(name, {"connection": self._client, "prefix": self._prefix})
        return self._queues[name]


async def _refusing(call: Any) -> Any:
    try:
        return await call
    except Exception as error:  # the package raises nothing narrower
        raise Refused(str(error)) from error


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return _shown(value) if isinstance(value, bullmq.Job) else value


def _shown(job: Any) -> dict[str, Any]:
    return {name: getattr(job, name, None) for name in _SHOWN}
