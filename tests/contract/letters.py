"""Dead letters for tests: made by a worker, or written straight into Redis."""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal

from hippo_messenger.catalogue import golden_hippo
from hippo_messenger.catalogue.golden_hippo import HippoService, OrderSuccess
from hippo_messenger.envelope import encode
from hippo_messenger.queues.connection import Connection
from hippo_messenger.queues.dead_letters import DeadLetters, Selection
from hippo_messenger.queues.letter_check import LetterCheck
from hippo_messenger.queues.redrive import Redrive
from hippo_messenger.retry import RetryPolicy
from tests.contract.bus import Bus, Recorder

ORDER = OrderSuccess(order_id="A-1", total=Decimal(1))
ALL = Selection(rejected=False)
ONCE = RetryPolicy(attempts=1)


def dead_letters(bus: Bus, queue: str = "account", *, url: str | None = None) -> DeadLetters:
    return DeadLetters(connection(bus, url), queue=queue, settings=bus.settings)


def redriving(bus: Bus, queue: str = "account", *, url: str | None = None) -> Redrive:
    return Redrive(connection(bus, url), queue=queue, settings=bus.settings)


def connection(bus: Bus, url: str | None) -> Connection:
    opened = Connection.of(url or bus.url, settings=bus.settings)
    bus.stack.push_async_callback(opened.close)
    return opened


def check(queue: str = "account") -> LetterCheck:
    return LetterCheck(golden_hippo.CATALOGUE, queue=queue, max_bytes=1 << 20)


async def fail_some(bus: Bus, count: int, *, error: Exception | None = None) -> list[str]:
    """Events that a worker of account has failed for good; the worker is gone again."""
    messenger = bus.messenger(HippoService.ACCOUNT, retry=ONCE)
    known = await bus.count("account", "failed")
    ids = await messenger.send_many([ORDER] * count, notify_self=True)
    worker = await bus.worker(messenger, Recorder(raises=[error or ValueError("no")] * count))
    await bus.settled("account", failed=known + count)
    await worker.stop()
    return list(ids)


async def put_failed(bus: Bus, ids: Iterable[str], *, reason: str, trace: str, first: int = 1_700_000_000_000) -> None:
    """Dead letters as workers leave them, written straight into Redis."""
    base = bus.queue("account").base
    async with bus.redis.pipeline(transaction=False) as pipeline:
        for number, job_id in enumerate(ids):
            data = encode(
                event_id=job_id, source="order", event_type="ORDER_SUCCESS", data=b'{"orderId":"A","total":"1"}'
            )
            fields = {
                "name": "ORDER_SUCCESS",
                "data": data,
                "opts": '{"attempts":1}',
                "timestamp": first,
                "delay": 0,
                "priority": 0,
                "processedOn": first + number // 40,
                "finishedOn": first + number // 40,
                "atm": 1,
                "ats": 1,
                "failedReason": reason,
                "stacktrace": json.dumps([trace]),
            }
            pipeline.hset(base + job_id, mapping=fields)
            pipeline.zadd(base + "failed", {job_id: first + number // 40})
        await pipeline.execute()


TRACE = """Traceback (most recent call last):
  File "/srv/.venv/lib/python3.12/site-packages/hippo_messenger/processing.py", line 132, in process
    returned = await self._run(processor, event)
  File "/srv/app/{0}.py", line 41, in {0}
    raise {1}("no")
{1}: no
"""


async def ten_thousand(bus: Bus) -> dict[str, int]:
    """10,000 dead letters in three groups, by the place of each."""
    sizes = {"charge": 6000, "refund": 3999, "ship": 1}
    for place, (count, error) in zip(sizes, [(6000, "ValueError"), (3999, "KeyError"), (1, "OSError")], strict=True):
        ids = [f"{place}-{number:08d}-letter" for number in range(count)]
        await put_failed(bus, ids, reason=f"{error}: no", trace=TRACE.format(place, error))
    return sizes
