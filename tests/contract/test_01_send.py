"""Promise 1: `send` returns when Redis has the event; if it raises it says what Redis has; sending again is safe."""

from __future__ import annotations

import asyncio
import gc
from decimal import Decimal

import pytest

from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService, OrderSuccess
from hippo_messenger.errors import (
    ConfigurationError,
    EventTooLargeError,
    EventValidationError,
    InvalidEventIdError,
    NotSentError,
    PossiblySentError,
)
from hippo_messenger.testing import Proxy
from tests.contract.bus import Bus, Recorder


def order(number: int = 1) -> OrderSuccess:
    return OrderSuccess(order_id=f"A-{number}", total=Decimal("12.30"))


async def test_send_returns_the_id_of_an_event_that_redis_has(bus: Bus) -> None:
    sender = bus.messenger(HippoService.ORDER)

    event_id = await sender.send(order())

    job = await bus.job("broker", event_id)
    assert job["name"] == "ORDER_SUCCESS"
    assert job["data"]["data"] == {"orderId": "A-1", "total": "12.30"}
    assert job["data"]["id"] == event_id
    assert await bus.counts("broker") == {"wait": 1}


async def test_an_event_reaches_its_processor_as_it_was_sent(bus: Bus) -> None:
    await bus.broker()
    account = await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    recorder = Recorder(returns={"seen": True})
    await bus.worker(account, recorder)

    event_id = await bus.messenger(HippoService.ORDER).send(
        event_type=HippoEvent.ORDER_SUCCESS, data={"orderId": "A-1", "total": "12.30", "giftWrap": "blue"}
    )

    [job] = await recorder.got(1)
    assert (job.id, job.job_type, job.origin, job.attempt) == (
        event_id,
        HippoEvent.ORDER_SUCCESS,
        HippoService.ORDER,
        1,
    )
    assert isinstance(job.data, OrderSuccess)
    assert (job.data.order_id, job.data.total) == ("A-1", Decimal("12.30"))
    assert job.data.model_extra == {"giftWrap": "blue"}
    await bus.settled("account", completed=1)
    assert (await bus.job("account", event_id))["returnvalue"] == {"seen": True}


async def test_without_redis_send_says_not_sent(bus: Bus, unused_port: int) -> None:
    settings = bus.settings.model_copy(update={"call_timeout": 1.0})
    sender = bus.messenger(HippoService.ORDER, url=f"redis://127.0.0.1:{unused_port}", settings=settings)

    with pytest.raises(NotSentError, match="not sent") as caught:
        await sender.send(order(), event_id="my-own-event-id-1")

    assert caught.value.event_ids == ("my-own-event-id-1",)


async def test_what_never_went_out_is_not_sent_though_its_time_ended_in_an_attempt_to_connect(bus: Bus) -> None:
    """A firewall that swallows, or a server that hangs: the connection is never ready for a command."""
    visitors: list[asyncio.StreamWriter] = []

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visitors.append(writer)

    settings = bus.settings.model_copy(update={"call_timeout": 0.5})
    async with await asyncio.start_server(say_nothing, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        sender = bus.messenger(HippoService.ORDER, url=f"redis://127.0.0.1:{port}", settings=settings)

        with pytest.raises(NotSentError, match="not sent") as one:
            await sender.send(order(), event_id="my-own-event-id-1")
        with pytest.raises(NotSentError, match="not sent") as many:
            await sender.send_many([order(2), order(3)])

        assert one.value.event_ids == ("my-own-event-id-1",)
        assert len(many.value.event_ids) == 2
        assert visitors
        for writer in visitors:
            writer.close()


async def test_what_was_told_not_sent_does_not_go_out_afterwards(bus: Bus) -> None:
    """Others of its batch may still go: each has its own time, and the line was busy."""
    settings = bus.settings.model_copy(update={"call_timeout": 1.0})
    sender = bus.messenger(HippoService.ORDER, settings=settings)
    first = await sender.send(order(1))
    busy = [asyncio.create_task(sender.connection.execute("BLPOP", f"{settings.prefix}:first", 0))]
    await asyncio.sleep(0)
    in_a_batch = asyncio.create_task(sender.send(order(2)))  # which waits for the line
    for _ in range(3):
        await asyncio.sleep(0)
    too_late = asyncio.create_task(sender.send(order(3)))  # gathers for the next batch
    await asyncio.sleep(0)
    busy.append(asyncio.create_task(sender.connection.execute("BLPOP", f"{settings.prefix}:second", 0)))
    await asyncio.sleep(0.1)
    await bus.redis.rpush(f"{settings.prefix}:first", "x")
    second = await in_a_batch
    in_time = asyncio.create_task(sender.send(order(4)))  # in one batch with the one that is late

    with pytest.raises(NotSentError):
        await too_late

    fourth = await in_time
    await asyncio.gather(*busy, return_exceptions=True)
    waiting = [job_id.decode() for job_id in await bus.redis.lrange(bus.queue("broker").base + "wait", 0, -1)]
    assert waiting == [fourth, second, first]


async def test_many_sends_without_redis_say_so_after_the_time_of_one_batch(bus: Bus, unused_port: int) -> None:
    """Guards against a time limit for each of many batches that all wait for the same Redis: 200 times as long."""
    settings = bus.settings.model_copy(update={"call_timeout": 0.5, "send_batch": 2})
    sender = bus.messenger(HippoService.ORDER, url=f"redis://127.0.0.1:{unused_port}", settings=settings)
    ids = [f"an-id-of-the-caller-{number}" for number in range(400)]

    async with asyncio.timeout(50):
        with pytest.raises(NotSentError) as caught:
            await sender.send_many([order(number) for number in range(400)], event_ids=ids)

    assert caught.value.event_ids == tuple(ids)


async def test_a_cancelled_send_many_leaves_no_error_that_nobody_hears(bus: Bus) -> None:
    sender = bus.messenger(HippoService.ORDER, settings=bus.settings.model_copy(update={"call_timeout": 0.5}))
    await sender.send(order(1))
    unheard: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context["message"]))
    busy = asyncio.create_task(sender.connection.execute("BLPOP", f"{bus.settings.prefix}:nothing", 0))
    await asyncio.sleep(0)

    sending = asyncio.create_task(sender.send_many([order(2), order(3)]))
    await asyncio.sleep(0.1)
    sending.cancel()
    await asyncio.wait([sending])
    del sending
    await asyncio.wait([busy])
    last = await sender.send(order(4))
    gc.collect()

    assert unheard == []
    waiting = await bus.redis.lrange(bus.queue("broker").base + "wait", 0, -1)
    assert (len(waiting), waiting[0].decode()) == (2, last)


async def test_when_only_the_reply_is_lost_send_finds_out_by_repeating(bus: Bus, proxy: Proxy) -> None:
    sender = bus.messenger(HippoService.ORDER, url=proxy.url)
    await sender.send(order(1))

    proxy.drop_replies(1)
    event_id = await sender.send(order(2))

    assert await bus.count("broker", "wait") == 2
    assert await bus.job("broker", event_id)


async def test_when_no_reply_ever_comes_send_says_possibly_sent_and_the_same_id_is_delivered_once(
    bus: Bus, proxy: Proxy
) -> None:
    await bus.broker()
    account = await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    recorder = Recorder()
    await bus.worker(account, recorder)
    settings = bus.settings.model_copy(update={"call_timeout": 1.0})
    sender = bus.messenger(HippoService.ORDER, url=proxy.url, settings=settings)
    await sender.send(order(1))

    proxy.drop_replies(1_000)
    with pytest.raises(PossiblySentError, match="same event_id") as caught:
        await sender.send(order(2))
    proxy.drop_replies(0)
    [event_id] = caught.value.event_ids
    assert await sender.send(order(2), event_id=event_id) == event_id
    last = await sender.send(order(3))

    jobs = await recorder.got(3)
    assert sorted(job.id for job in jobs).count(event_id) == 1
    assert jobs[-1].id == last


async def test_one_bad_or_cancelled_send_harms_no_neighbour(bus: Bus) -> None:
    sender = bus.messenger(HippoService.ORDER)
    await bus.redis.set(bus.queue("broker").job("the-id-is-occupied"), "by a string")

    sends = [asyncio.create_task(sender.send(order(number))) for number in range(50)]
    broken = asyncio.create_task(sender.send(order(), event_id="the-id-is-occupied"))
    invalid = asyncio.create_task(sender.send(event_type=HippoEvent.ORDER_SUCCESS, data={}))
    await asyncio.sleep(0)
    sends[7].cancel()
    results = await asyncio.gather(*sends, return_exceptions=True)

    with pytest.raises(NotSentError, match="holds a string"):
        await broken
    with pytest.raises(EventValidationError):
        await invalid
    accepted = [result for result in results if isinstance(result, str)]
    assert len(accepted) == 49
    waiting = {job_id.decode() for job_id in await bus.redis.lrange(bus.queue("broker").base + "wait", 0, -1)}
    assert set(accepted) <= waiting


async def test_concurrent_sends_go_in_few_calls(bus: Bus) -> None:
    sender = bus.messenger(HippoService.ORDER)
    await sender.send(order())
    before = await script_calls(bus)

    await asyncio.gather(*(sender.send(order(number)) for number in range(400)))

    assert await bus.count("broker", "wait") == 401
    assert await script_calls(bus) - before <= 8


async def script_calls(bus: Bus) -> int:
    stats = await bus.redis.info("commandstats")
    return sum(int(stats.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in ("eval", "evalsha"))


async def test_send_many_keeps_the_order_and_checks_all_before_it_sends_any(bus: Bus) -> None:
    sender = bus.messenger(HippoService.ORDER)

    ids = await sender.send_many([order(number) for number in range(450)])

    waiting = await bus.redis.lrange(bus.queue("broker").base + "wait", 0, -1)
    assert [job_id.decode() for job_id in reversed(waiting)] == ids
    with pytest.raises(EventValidationError) as caught:
        await sender.send_many([order(1), OrderSuccess.model_construct(order_id="A", total=Decimal("NaN")), order(2)])
    assert "event 1 of 3" in caught.value.__notes__[0]
    assert await bus.count("broker", "wait") == 450


async def test_send_many_has_its_time_for_each_call_that_it_makes(bus: Bus, proxy: Proxy) -> None:
    """It was counted by the number of events alone: large ones go in more calls, and had the time of one."""
    settings = bus.settings.model_copy(update={"call_timeout": 1.0, "send_batch_bytes": 1})
    sender = bus.messenger(HippoService.ORDER, url=proxy.url, settings=settings)
    await sender.send(order(0))
    proxy.delay(0.2, scripts_only=True)

    ids = await sender.send_many([order(number) for number in range(8)])

    assert len(set(ids)) == 8
    assert await bus.count("broker", "wait") == 9


async def test_what_send_many_could_not_send_is_sent_again_under_the_same_ids(bus: Bus) -> None:
    """Guards against ids that nobody but `send_many` knew: whoever sent again then sent some of them twice."""
    sender = bus.messenger(HippoService.ORDER)
    events = {f"an-id-of-the-caller-{number}": order(number) for number in range(3)}
    await bus.redis.set(bus.queue("broker").job("an-id-of-the-caller-1"), "by a string")

    with pytest.raises(NotSentError) as caught:
        await sender.send_many(list(events.values()), event_ids=list(events))
    assert caught.value.event_ids == ("an-id-of-the-caller-1",)
    await bus.redis.delete(bus.queue("broker").job("an-id-of-the-caller-1"))
    again = [events[event_id] for event_id in caught.value.event_ids]
    assert await sender.send_many(again, event_ids=caught.value.event_ids) == ["an-id-of-the-caller-1"]

    assert await sender.send_many(list(events.values()), event_ids=list(events)) == list(events)
    assert await bus.job_ids("broker") == sorted(events)
    for number, event_id in enumerate(events):
        assert (await bus.job("broker", event_id))["data"]["data"]["orderId"] == f"A-{number}"


@pytest.mark.parametrize(
    ("event_ids", "error", "message"),
    [
        (["an-id-of-the-caller-1"], ConfigurationError, "an event id for each of 2 events, got 1"),
        (["an-id-of-the-caller-1"] * 2, ConfigurationError, "got one twice"),
        (["an-id-of-the-caller-1", "short"], InvalidEventIdError, "short"),
    ],
)
async def test_ids_of_many_that_cannot_be_used_are_refused(
    bus: Bus, event_ids: list[str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        await bus.messenger(HippoService.ORDER).send_many([order(1), order(2)], event_ids=event_ids)
    assert await bus.count("broker", "wait") == 0


async def test_an_id_that_cannot_be_used_is_refused(bus: Bus) -> None:
    sender = bus.messenger(HippoService.ORDER)

    for event_id in ("short", "1234567890123456", "a:b:c-0123456789abcdef", "waiting-children"):
        with pytest.raises(InvalidEventIdError):
            await sender.send(order(), event_id=event_id)
    assert await bus.count("broker", "wait") == 0


async def test_an_event_over_the_size_limit_is_refused(bus: Bus) -> None:
    sender = bus.messenger(HippoService.ORDER, settings=bus.settings.model_copy(update={"max_event_bytes": 2048}))

    with pytest.raises(EventTooLargeError, match="at most 2,048 bytes"):
        await sender.send(event_type=HippoEvent.ORDER_SUCCESS, data={"orderId": "A" * 3000, "total": 1})

    assert await bus.count("broker", "wait") == 0
