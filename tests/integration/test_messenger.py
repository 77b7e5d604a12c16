"""The messenger as an object: what it takes, what it refuses, and how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest

from examples.own_catalogue import CATALOGUE, CardIssued, ShopEvent, ShopService
from hippo_messenger.broker import HippoBroker
from hippo_messenger.catalogue.golden_hippo import (
    AccountRegistered,
    HippoEvent,
    HippoService,
    OrderPlaced,
    OrderSuccess,
)
from hippo_messenger.errors import (
    ConfigurationError,
    EventValidationError,
    MessengerClosedError,
    NotSentError,
    PossiblySentError,
    RedisError,
    RedisUnavailableError,
    UnknownEventTypeError,
    UnknownServiceError,
)
from hippo_messenger.limits import WorkLimits
from hippo_messenger.messenger import HippoMessenger
from hippo_messenger.settings import Settings
from hippo_messenger.testing import eventually
from hippo_messenger.worker import HippoWorker
from tests.conftest import StartServer
from tests.contract.bus import Bus

ORDER = OrderSuccess(order_id="A-1", total=Decimal(1))


async def test_nothing_touches_redis_before_the_first_call() -> None:
    async with HippoMessenger(service_name=HippoService.ORDER, redis_connection="redis://no-such-host.invalid"):
        pass


async def test_closing_finishes_what_is_being_sent(bus: Bus) -> None:
    messenger = bus.messenger(HippoService.ORDER)
    sends = [asyncio.create_task(messenger.send(ORDER)) for _ in range(500)]
    await asyncio.sleep(0)

    await messenger.close()

    assert len(set(await asyncio.gather(*sends))) == 500
    assert await bus.count("broker", "wait") == 500


async def test_a_closed_messenger_says_so_and_closing_again_does_nothing(bus: Bus) -> None:
    messenger = bus.messenger(HippoService.ORDER)
    await messenger.send(ORDER)
    await messenger.close()
    await messenger.close()
    with pytest.raises(MessengerClosedError, match="make a new one"):
        await messenger.send(ORDER)
    with pytest.raises(MessengerClosedError):
        await messenger.register()


@pytest.fixture
async def own_bus(start_server: StartServer, settings: Settings) -> AsyncIterator[Bus]:
    """On a server that has no other clients."""
    bus = Bus(start_server(), settings)
    yield bus
    await bus.close()


async def has_left_nothing(bus: Bus) -> None:
    """Whether no connection is left but that of the bus, nor a task of ours."""
    assert [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("hippo-")] == []
    assert len(await bus.redis.client_list()) == 1


async def test_a_messenger_that_is_closed_while_it_registers_leaves_nothing_behind(own_bus: Bus) -> None:
    """Guards against a presence that began after the end, and opened a connection of its own, for ever."""
    messenger = own_bus.messenger(HippoService.ORDER)
    registering = asyncio.create_task(messenger.register())
    await asyncio.sleep(0)

    await messenger.close()

    await asyncio.wait([registering])
    assert await own_bus.count("broker", "wait") == 1
    await eventually(lambda: has_left_nothing(own_bus))


async def test_who_waits_for_its_route_hears_that_the_messenger_was_closed(own_bus: Bus) -> None:
    messenger = own_bus.messenger(HippoService.ORDER)
    registering = asyncio.create_task(messenger.register(wait=True))

    async def is_queued() -> None:
        assert await own_bus.count("broker", "wait") == 1

    await eventually(is_queued)
    await messenger.close()

    with pytest.raises((MessengerClosedError, RedisUnavailableError)):
        await registering
    await eventually(lambda: has_left_nothing(own_bus))


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda messenger: messenger.send(event_type=HippoEvent.ORDER_SUCCESS, data={}), EventValidationError),
        (lambda messenger: messenger.send(ORDER, expires=60), MessengerClosedError),
        (lambda messenger: messenger.send_many([ORDER], expires=60), MessengerClosedError),
        (lambda messenger: messenger.unregister(), MessengerClosedError),
        (lambda messenger: messenger.set_work_limits(WorkLimits(concurrency=1)), MessengerClosedError),
        (lambda messenger: messenger.connection.open(), MessengerClosedError),
    ],
)
async def test_nothing_opens_the_connection_of_a_closed_messenger(
    own_bus: Bus, call: Callable[[HippoMessenger], Awaitable[object]], error: type[Exception]
) -> None:
    messenger = own_bus.messenger(HippoService.ORDER)
    await messenger.send(ORDER)
    await messenger.close()

    with pytest.raises(error):
        await call(messenger)

    await eventually(lambda: has_left_nothing(own_bus))


@contextmanager
def stopped(process: int) -> Iterator[None]:
    """A server that says nothing meanwhile."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


async def server_of(bus: Bus) -> int:
    return int((await bus.redis.info("server"))["process_id"])


async def some_turns() -> None:
    """Let everybody come to where they wait."""
    for _ in range(5):
        await asyncio.sleep(0)


async def cancelled(closing: Coroutine[object, object, None]) -> None:
    task = asyncio.create_task(closing)
    await some_turns()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_close_that_is_cancelled_hangs_up_and_can_be_called_again(own_bus: Bus) -> None:
    """Guards against a cancellation that ended the sends, and that the next close heard of in place of closing."""
    messenger = own_bus.messenger(HippoService.ORDER)
    await messenger.register()
    with stopped(await server_of(own_bus)):
        out = asyncio.create_task(messenger.send(ORDER, event_id="an-id-of-the-caller-1"))
        await some_turns()
        gathering = asyncio.create_task(messenger.send(ORDER, event_id="an-id-of-the-caller-2"))
        await cancelled(messenger.close())

        with pytest.raises(PossiblySentError, match="same event_id"):
            await out
        with pytest.raises(NotSentError):
            await gathering
        await messenger.close()

    await eventually(lambda: has_left_nothing(own_bus))


async def test_a_stop_of_a_broker_that_is_cancelled_can_be_completed(own_bus: Bus) -> None:
    """Guards against loops that nobody ended any more: they opened the connection again, and ran for ever."""
    broker = await own_bus.broker()
    with stopped(await server_of(own_bus)):
        await cancelled(broker.stop())
        await broker.stop()

    await eventually(lambda: has_left_nothing(own_bus))


async def test_a_worker_whose_messenger_is_closed_under_it_ends_and_says_why(
    own_bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    messenger = own_bus.messenger(HippoService.ORDER)
    worker = await own_bus.worker(messenger, print)
    await messenger.close()

    async def has_ended() -> None:
        assert "was closed" in worker.health.reason

    await eventually(has_ended)
    await worker.stop()
    assert "stopped for good" in caplog.text
    await eventually(lambda: has_left_nothing(own_bus))


async def test_a_worker_and_a_broker_start_once(bus: Bus) -> None:
    worker = HippoWorker(messenger=bus.messenger(HippoService.ORDER), processor=print)
    async with worker:
        with pytest.raises(MessengerClosedError):
            await worker.start()
    with pytest.raises(MessengerClosedError):
        await worker.start()
    broker = await bus.broker()
    with pytest.raises(MessengerClosedError):
        await broker.start()
    await broker.stop()
    await broker.stop()
    with pytest.raises(MessengerClosedError):
        await broker.start()


async def test_a_broker_that_is_run_inside_its_own_block_says_so_and_leaves_nothing_behind(own_bus: Bus) -> None:
    """Guards against a second set of loops in the place of the first, which nobody ended."""
    with pytest.raises(MessengerClosedError):
        async with HippoBroker(redis_connection=own_bus.url, settings=own_bus.settings) as broker:
            await broker.run()
    await eventually(lambda: has_left_nothing(own_bus))


async def test_a_broker_that_is_stopped_while_it_starts_leaves_nothing_behind(own_bus: Bus) -> None:
    for turns in range(0, 300, 15):
        broker = HippoBroker(redis_connection=own_bus.url, settings=own_bus.settings)
        starting = asyncio.create_task(broker.start())
        for _ in range(turns):
            await asyncio.sleep(0)
        await broker.stop()
        [end] = await asyncio.gather(starting, return_exceptions=True)
        assert end is None or isinstance(end, MessengerClosedError)
    await eventually(lambda: has_left_nothing(own_bus))


async def test_a_broker_that_could_not_start_can_be_started_again(own_bus: Bus) -> None:
    """Guards against a line that was closed with the first try: here one connection is one too many."""
    broker = HippoBroker(redis_connection=own_bus.url, settings=own_bus.settings)
    await own_bus.redis.config_set("maxclients", 2)
    with pytest.raises(RedisError):
        await broker.start()
    await own_bus.redis.config_set("maxclients", 100)

    await broker.start()

    assert broker.health.ready
    await broker.stop()
    await eventually(lambda: has_left_nothing(own_bus))


async def test_a_broker_that_is_stopped_twice_at_once_wakes_another_all_the_same(own_bus: Bus) -> None:
    """Guards against a second stop that ended a wait which the first had ended already."""
    broker = await own_bus.broker()
    await eventually(lambda: own_bus.has_waiting("broker", 1))
    with stopped(await server_of(own_bus)):
        first = asyncio.create_task(broker.stop())
        await some_turns()  # it is about to wake another one
        second = asyncio.create_task(broker.stop())
        await some_turns()
    await first
    await second
    await eventually(lambda: has_left_nothing(own_bus))


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"service_name": "order"}, UnknownServiceError, "did you mean HippoService.ORDER"),
        ({"service_name": ShopService.TILL}, UnknownServiceError, "expected a service of the catalogue"),
        ({"listens_to": ["ORDER_SUCCES"]}, UnknownEventTypeError, "did you mean HippoEvent.ORDER_SUCCESS"),
        ({"listens_to": [ShopEvent.SOLD]}, UnknownEventTypeError, "expected an event type of the catalogue"),
        ({"redis_connection": "localhost"}, ConfigurationError, "expected a Redis URL"),
    ],
)
def test_a_wrong_argument_is_told_at_once(wrong: dict[str, Any], error: type[ConfigurationError], message: str) -> None:
    right = {"service_name": HippoService.ORDER, "redis_connection": "redis://localhost"}
    with pytest.raises(error, match=message):
        HippoMessenger(**{**right, **wrong})


@pytest.mark.parametrize(
    ("words", "options", "message"),
    [
        ((ORDER,), {"delay": -1}, "expected a delay from 0 seconds"),
        ((ORDER,), {"delay": float("nan")}, "expected a delay from 0 seconds"),
        ((ORDER,), {"priority": -1}, "expected a priority from 0"),
        ((ORDER,), {"priority": 2**21 + 1}, "expected a priority from 0"),
        ((ORDER,), {"priority": 1.5}, "expected a priority from 0"),
        ((ORDER,), {"event_type": HippoEvent.CONFIG_CHANGE}, "expected data of CONFIG_CHANGE, got OrderSuccess"),
        (({"orderId": "A"},), {}, "without event_type"),
        ((), {}, "expected an event-data model"),
        ((CardIssued(customer_id="C"),), {}, "expected an event type of the catalogue"),
    ],
)
async def test_a_wrong_send_is_told_at_once(
    bus: Bus, words: tuple[Any, ...], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        await bus.messenger(HippoService.ORDER).send(*words, **options)
    assert await bus.counts("broker") == {}


async def test_a_service_with_a_catalogue_of_its_own(bus: Bus) -> None:
    messenger = bus.messenger(ShopService.TILL, [ShopEvent.SOLD], catalogue=CATALOGUE)  # type: ignore[arg-type]
    event_id = await messenger.send(CardIssued(customer_id="C"))
    assert (await bus.job("broker", event_id))["data"]["type"] == "CARD_ISSUED"


async def test_sending_a_deprecated_event_warns_once(bus: Bus) -> None:
    messenger = bus.messenger(HippoService.ORDER)
    with pytest.warns(DeprecationWarning, match="HippoEvent.ORDER_SUCCESS"):
        await messenger.send(OrderPlaced(order_id="A"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        await messenger.send(OrderPlaced(order_id="B"))
    assert await bus.count("broker", "wait") == 2


async def test_a_delay_and_a_priority_reach_bullmq_as_its_own(bus: Bus) -> None:
    messenger = bus.messenger(HippoService.ACCOUNT)
    late = await messenger.send(AccountRegistered(account_id="A"), delay=60)
    low = await messenger.send(AccountRegistered(account_id="B"), priority=7)
    assert await bus.counts("broker") == {"delayed": 1, "prioritized": 1}
    assert (await bus.job("broker", late))["opts"]["delay"] == 60000
    assert (await bus.job("broker", low))["opts"]["priority"] == 7
