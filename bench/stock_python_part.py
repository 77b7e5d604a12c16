"""One part of a bus of stock BullMQ in Python: `sender`, `router` or `service`; see node/part.mjs.

Its first argument is the wiring: `best`, with a pooled client, many jobs a call and copies added side by side; or
`plain`, as its documentation begins, one call after the other.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import redis.asyncio
import uvloop
from bullmq import Queue, Worker

from bench.part import Tally, Task, laps, say
from hippo_messenger.catalogue.golden_hippo import OrderSuccess

WIRING, ROLE, URL, PREFIX, CONCURRENCY, EVENTS, SERVICES, *NAME = sys.argv[1:]
IS_PLAIN = WIRING == "plain"
LAPS = laps(EVENTS)
KEEP = {"removeOnComplete": {"age": 3600, "count": 1000}}
PATIENCE = 60.0
"""Redis may need longer than the client's five seconds where it gets 13 MB in one piece."""


def options() -> dict[str, Any]:
    if IS_PLAIN:
        return {"connection": URL, "prefix": PREFIX}
    connection = redis.asyncio.Redis.from_url(URL, decode_responses=True, socket_timeout=PATIENCE)
    return {"connection": connection, "prefix": PREFIX}


def job(data: dict[str, Any]) -> dict[str, Any]:
    event_id = str(uuid4())
    time_sent = datetime.now(UTC).isoformat()
    event = {"specversion": "1.0", "id": event_id, "source": "order", "type": "ORDER_SUCCESS", "time": time_sent}
    return {"name": "ORDER_SUCCESS", "data": event | {"data": data}, "opts": {"jobId": event_id, "attempts": 1, **KEEP}}


async def sender() -> None:
    queue = Queue("broker", options())
    say({"ready": True})

    async def one(data: dict[str, Any]) -> None:
        made = job(data)
        await queue.add(made["name"], made["data"], made["opts"])

    async def many(data: Sequence[dict[str, Any]]) -> None:
        if not IS_PLAIN:
            await queue.addBulk(list(map(job, data)))
            return
        for each in data:
            await one(each)

    for events in LAPS:
        await (await Task.told(events=events)).deliver(one, many)


async def router() -> None:
    queues = [Queue(name, options()) for name in SERVICES.split(",")]
    copies = {"attempts": 3, "backoff": {"type": "exponential", "delay": 1000}, **KEEP}

    async def route(job: Any, token: str) -> None:
        OrderSuccess.model_validate(job.data["data"])
        added = {**copies, "jobId": job.data["id"]}
        adds = [queue.add(job.name, job.data, added) for queue in queues]
        if not IS_PLAIN:
            await asyncio.gather(*adds)
            return
        for add in adds:
            await add

    Worker("broker", route, {**options(), "concurrency": int(CONCURRENCY)})
    say({"ready": True})


async def service() -> None:
    tally = Tally(LAPS)

    async def process(job: Any, token: str) -> None:
        OrderSuccess.model_validate(job.data["data"])
        await tally.process(job.data["data"])

    worker = Worker(NAME[0], process, {**options(), "concurrency": int(CONCURRENCY)})
    worker.on("completed", lambda job, result: tally.ended())
    say({"ready": True})


async def main() -> None:
    # At once: it says nothing of clients that it doesn't close.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, os._exit, 0)
    await {"sender": sender, "router": router, "service": service}[ROLE]()
    await asyncio.Event().wait()


uvloop.run(main())
