"""Promise 16: an event that is past its time is neither delivered nor processed, by Redis' clock."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService, OrderSuccess
from hippo_messenger.errors import (
    ConfigurationError,
    EventTooLargeError,
    EventValidationError,
    NotSentError,
    RedisUnavailableError,
)
from hippo_messenger.observer import Observer
from hippo_messenger.queues.call import Caller
from hippo_messenger.queues.clock import Clock
from hippo_messenger.retry import RetryPolicy
from hippo_messenger.testing import Proxy, eventually
from tests.contract.bus import Bus, Recorder
from tests.contract.letters import connection
from tests.contract.outages import Listening

ORDER = OrderSuccess(order_id="A-1", total=Decimal(1))
PAST = "2026-01-02T03:04:05Z"


class Watcher(Observer):
    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str]] = []

    def expired(self, event_type: str, *, origin: str, queue: str) -> None:
        self.seen.append((event_type, origin, queue))


def envelope(**members: object) -> dict[str, Any]:
    """An event as a peer writes it."""
    head = {"specversion": "1.0", "id": "event-of-a-peer-1", "source": "order", "type": "ORDER_SUCCESS"}
    return head | {"data": {"orderId": "A-1", "total": "1"}} | members


async def put(bus: Bus, queue: str, event: dict[str, Any]) -> None:
    """As a peer adds it."""
    fields = {"name": event["type"], "data": json.dumps(event), "opts": "{}", "timestamp": 1}
    await bus.redis.hset(bus.queue(queue).job(event["id"]), mapping=fields)
    await bus.redis.lpush(bus.queue(queue).base + "wait", event["id"])


async def redis_time(bus: Bus) -> datetime:
    seconds, microseconds = await bus.redis.time()
    return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=microseconds)


async def passed(bus: Bus, moment: datetime) -> None:
    """Wait until a time is over for Redis."""

    async def over() -> bool:
        return await redis_time(bus) >= moment

    await eventually(over)


async def expiry_of(bus: Bus, queue: str, event_id: str) -> datetime:
    return datetime.fromisoformat((await bus.job(queue, event_id))["data"]["expirytime"])


async def test_an_event_past_its_time_is_not_delivered_and_says_so(bus: Bus) -> None:
    first = await bus.broker()
    await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    await first.stop()
    event_id = await bus.messenger(HippoService.ORDER).send(ORDER, expires=0.05)
    expiry = await expiry_of(bus, "broker", event_id)
    await passed(bus, expiry)

    watcher = Watcher()
    await bus.broker(observer=watcher)

    async def completed() -> None:
        result = (await bus.job("broker", event_id)).get("returnvalue")
        assert result is not None
        assert datetime.fromisoformat(result["expired"]) == expiry

    await eventually(completed)
    assert await bus.counts("account") == {}
    assert watcher.seen == [("ORDER_SUCCESS", "order", "broker")]


async def test_an_event_past_its_time_is_not_processed_and_says_so(bus: Bus) -> None:
    watcher = Watcher()
    account = bus.messenger(HippoService.ACCOUNT, observer=watcher)
    ids = await account.send_many([ORDER] * 3, notify_self=True, expires=0.05)
    lasting = await account.send(ORDER, notify_self=True)
    await passed(bus, max([await expiry_of(bus, "account", event_id) for event_id in ids]))

    recorder = Recorder()
    await bus.worker(account, recorder)

    await bus.settled("account", completed=4)
    assert recorder.ids == [lasting]
    for event_id in ids:
        job = await bus.job("account", event_id)
        assert list(job["returnvalue"]) == ["expired"]
    assert watcher.seen == [("ORDER_SUCCESS", "account", "account")] * 3


async def test_before_its_time_it_is_delivered_and_the_processor_knows_the_time(bus: Bus) -> None:
    await bus.broker()
    account = await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    recorder = Recorder()
    await bus.worker(account, recorder)
    moment = datetime.now(UTC) + timedelta(hours=1)

    await bus.messenger(HippoService.ORDER).send(ORDER, expires=moment)
    await bus.messenger(HippoService.ORDER).send(ORDER)

    jobs = await recorder.got(2)
    assert {job.expires for job in jobs} == {moment.replace(microsecond=moment.microsecond // 1000 * 1000), None}


async def test_a_retry_past_its_time_ends_as_expired(bus: Bus) -> None:
    account = bus.messenger(HippoService.ACCOUNT, retry=RetryPolicy(attempts=3, delay=2.5, jitter=0))
    recorder = Recorder(raises=[ValueError("not now")] * 3)
    await bus.worker(account, recorder)

    event_id = await account.send(ORDER, notify_self=True, expires=2)

    await bus.settled("account", completed=1)
    assert list((await bus.job("account", event_id))["returnvalue"]) == ["expired"]
    assert len(recorder.jobs) == 1


async def test_a_peers_event_whose_time_is_over_completes_also_where_nobody_has_a_processor(bus: Bus) -> None:
    await bus.broker()
    account = await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    recorder = Recorder()
    await bus.worker(account, recorder)

    await put(bus, "broker", envelope(expirytime=PAST))
    await put(bus, "account", envelope(expirytime=PAST, id="event-of-a-peer-2", type="NOT_KNOWN_HERE"))
    for queue in ("broker", "account"):
        await bus.redis.zadd(bus.queue(queue).marker, {"0": 0})

    async def completed() -> None:
        for queue, event_id in (("broker", "event-of-a-peer-1"), ("account", "event-of-a-peer-2")):
            result = (await bus.job(queue, event_id)).get("returnvalue")
            assert result == {"expired": "2026-01-02T03:04:05.000Z"}

    await eventually(completed)
    assert recorder.jobs == []


async def test_a_malformed_expiry_of_a_peer_is_an_invalid_envelope_and_named(bus: Bus) -> None:
    await bus.broker()
    await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)

    await put(bus, "broker", envelope(expirytime="tomorrow"))
    await bus.redis.zadd(bus.queue("broker").marker, {"0": 0})

    async def failed() -> None:
        [job] = await bus.failed("broker")
        assert "InvalidEnvelopeError: expirytime: expected a time in RFC 3339" in job["failedReason"]
        assert "got 'tomorrow'" in job["failedReason"]

    await eventually(failed)
    assert await bus.counts("account") == {}


async def test_an_expiry_that_cannot_be_meant_is_refused_and_nothing_is_sent(bus: Bus) -> None:
    order = bus.messenger(HippoService.ORDER)
    for refused in (0, datetime(2020, 1, 1, tzinfo=UTC)):
        with pytest.raises(ConfigurationError, match="expected an expiry"):
            await order.send(ORDER, expires=refused)
    with pytest.raises(ConfigurationError, match="after the delay of 60 s"):
        await order.send_many([ORDER, ORDER], delay=60, expires=30)
    assert await bus.counts("broker") == {}


async def test_the_size_limit_counts_the_expiry_too(bus: Bus) -> None:
    order = bus.messenger(HippoService.ORDER, settings=bus.settings.model_copy(update={"max_event_bytes": 1024}))
    room = 1024 - len(await sent(bus, ORDER))
    fits = OrderSuccess(order_id="A-1" + "x" * room, total=Decimal(1))
    await order.send(fits)
    with pytest.raises(EventTooLargeError):
        await order.send(fits, expires=60)


async def sent(bus: Bus, event: OrderSuccess) -> bytes:
    event_id = await bus.messenger(HippoService.ORDER).send(event)
    return bytes(await bus.redis.hget(bus.queue("broker").job(event_id), "data"))


async def test_without_redis_an_invalid_event_is_named_and_a_valid_one_is_not_sent(bus: Bus, unused_port: int) -> None:
    settings = bus.settings.model_copy(update={"call_timeout": 0.3})
    order = bus.messenger(HippoService.ORDER, url=f"redis://127.0.0.1:{unused_port}/0", settings=settings)
    with pytest.raises(EventValidationError):
        await order.send(event_type=HippoEvent.ORDER_SUCCESS, data={}, expires=60)
    with pytest.raises(NotSentError) as caught:
        await order.send(ORDER, event_id="an-id-of-the-caller", expires=60)
    assert caught.value.event_ids == ("an-id-of-the-caller",)


async def test_without_redis_many_sends_at_once_are_not_sent_within_the_time_of_one(bus: Bus, unused_port: int) -> None:
    """They asked for the time one after the other, each for as long as a send may take."""
    settings = bus.settings.model_copy(update={"call_timeout": 0.5})
    order = bus.messenger(HippoService.ORDER, url=f"redis://127.0.0.1:{unused_port}/0", settings=settings)

    async with asyncio.timeout(6):  # one after the other it is 15 s
        sent = await asyncio.gather(*(order.send(ORDER, expires=60) for _ in range(30)), return_exceptions=True)

    assert {type(error) for error in sent} == {NotSentError}
    assert all(isinstance(error.__cause__, RedisUnavailableError) for error in sent if isinstance(error, NotSentError))


async def test_a_first_look_across_an_outage_is_as_exact_as_any(bus: Bus, proxy: Proxy) -> None:
    """It was ahead by half of the outage, and events that had not expired completed as expired."""
    line = connection(bus, proxy.url)
    await line.open()
    observer = Listening()
    clock = Clock(Caller(line, observer=observer), bus.layout)
    proxy.refuse(on=True)
    asking = asyncio.create_task(clock.now(patience=None))

    async def tried_for_seconds() -> None:
        assert len(observer.errors) >= 7

    await eventually(tried_for_seconds)
    proxy.refuse(on=False)
    await asking

    before = await redis_time(bus)
    told = await clock.now(patience=None)
    after = await redis_time(bus)
    exact_to = timedelta(seconds=0.3)  # far more than half a round trip, far less than half of the outage
    assert before - exact_to < told < after + exact_to
