"""Promise 6: registrations are kept in Redis; no broker misroutes by a stale copy, and what is lost heals."""

from __future__ import annotations

import json
import socket
from decimal import Decimal

import pytest

from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService, OrderSuccess
from hippo_messenger.clash import Clash
from hippo_messenger.observer import Observer
from hippo_messenger.queues.schedule import Schedule
from hippo_messenger.registration import Registration
from hippo_messenger.testing import eventually
from tests.contract.bus import Bus, Recorder

ORDER = OrderSuccess(order_id="A-1", total=Decimal(1))


async def test_brokers_with_stale_registrations_route_by_the_registry_all_the_same(bus: Bus) -> None:
    first = await bus.broker()
    second = await bus.broker()
    account = await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    sender = bus.messenger(HippoService.ORDER)
    for number in range(10):
        account.set_listeners([HippoEvent.ORDER_SUCCESS] if number % 2 else [])
        await account.register(wait=True)
        await sender.send_many([ORDER] * 10)

        async def routed(number: int = number) -> None:
            assert await bus.count("broker", "wait") == await bus.count("broker", "active") == 0
            assert await bus.count("account", "wait") == 10 * ((number + 1) // 2)

        await eventually(routed)
    assert first is not second


async def test_the_registration_that_was_made_last_wins_whatever_is_processed_first(bus: Bus) -> None:
    account = bus.messenger(HippoService.ACCOUNT, [HippoEvent.ORDER_SUCCESS])
    await account.register()
    account.set_listeners([HippoEvent.CONFIG_CHANGE])
    await account.register()
    newest_first = await bus.redis.lrange(bus.queue("broker").base + "wait", 0, -1)
    assert [int(number) for number in newest_first] == [1, 2]

    await bus.broker()

    await bus.settled("broker", completed=2)
    assert await listens_to(bus, "account") == ["CONFIG_CHANGE"]
    assert (await bus.job("broker", "1"))["returnvalue"]["registry"] == "older"


async def listens_to(bus: Bus, service: str) -> list[str]:
    raw = await bus.redis.hget(bus.layout.registry, service)
    return list(json.loads(raw)["listensTo"]) if raw else []


async def test_the_version_moves_only_when_a_route_changes(bus: Bus) -> None:
    await bus.broker()
    account = await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    before = await bus.redis.get(bus.layout.registry_version)

    await account.register(wait=True)
    assert await bus.redis.get(bus.layout.registry_version) == before
    account.set_listeners([])
    await account.register(wait=True)

    assert await bus.redis.get(bus.layout.registry_version) != before


async def test_each_registration_has_one_repeat_job_of_five_minutes(bus: Bus) -> None:
    await bus.broker()
    account = await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    await account.register(wait=True)

    async def scheduled() -> None:
        assert await bus.redis.zcard(bus.queue("broker").scheduler) == 1
        assert await bus.redis.zcard(bus.queue("broker").base + "delayed") == 1

    await eventually(scheduled)
    fields = await bus.redis.hgetall(bus.queue("broker").scheduler + ":hippo.register.account")
    assert fields[b"every"] == b"300000"


@pytest.mark.chaos
async def test_the_schedule_ticks_on_across_a_restart_of_the_broker(bus: Bus) -> None:
    settings = bus.settings.model_copy(update={"registration_interval": 0.4})
    broker = await bus.broker(settings=settings)
    await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)

    async def ticked(times: int) -> None:
        ids = [job_id for job_id in await bus.job_ids("broker") if job_id.startswith("repeat:")]
        done = [job_id for job_id in ids if "returnvalue" in await bus.job("broker", job_id)]
        assert len(done) >= times

    await eventually(lambda: ticked(1))
    await broker.stop()
    await bus.broker(settings=settings)

    await eventually(lambda: ticked(3))
    assert await bus.redis.zcard(bus.queue("broker").scheduler) == 1


@pytest.mark.chaos
async def test_a_tick_repairs_an_entry_that_was_lost_or_altered_but_overwrites_no_newer_one(bus: Bus) -> None:
    settings = bus.settings.model_copy(update={"registration_interval": 0.3})
    await bus.broker(settings=settings)
    await bus.listener(HippoService.SHIPPING, settings=bus.settings.model_copy(update={"presence_interval": 600.0}))
    account = await bus.listener(
        HippoService.ACCOUNT,
        HippoEvent.ORDER_SUCCESS,
        settings=bus.settings.model_copy(update={"presence_interval": 600.0}),
    )

    async def repaired() -> None:
        assert await listens_to(bus, "account") == ["ORDER_SUCCESS"]

    await bus.redis.hdel(bus.layout.registry, "account")
    await eventually(repaired)
    await bus.redis.hset(bus.layout.registry, "account", "garbage")
    await eventually(repaired)

    account.set_listeners([])
    await account.register(wait=True)
    before = await bus.count("broker", "completed")

    async def later() -> None:
        assert await bus.count("broker", "completed") > before + 4
        assert await listens_to(bus, "account") == []

    await eventually(later)


async def test_a_tick_of_an_older_registration_makes_way_for_the_one_that_stands(bus: Bus) -> None:
    """Two brokers took two registrations of a service, and the repeat job of the older one was made last."""
    settings = bus.settings.model_copy(update={"registration_interval": 0.3})
    await bus.broker(settings=settings)
    account = await bus.listener(HippoService.ACCOUNT, HippoEvent.CONFIG_CHANGE)
    account.set_listeners([HippoEvent.ORDER_SUCCESS])
    await account.register(wait=True)
    old = Registration(service="account", listens_to=frozenset({"CONFIG_CHANGE"}))
    await Schedule(account.connection, settings=settings).replace(old, number=1)

    async def stands() -> None:
        made = await bus.redis.hget(bus.queue("broker").scheduler + ":hippo.register.account", "data")
        assert json.loads(made)["listensTo"] == ["ORDER_SUCCESS"]

    await eventually(stands)


@pytest.mark.parametrize("options", ["not json", "[]", '{"repeat":7}', '{"repeat":{"every":"soon"}}', "{}"])
async def test_a_tick_that_somebody_made_up_harms_nobody(bus: Bus, options: str) -> None:
    base = bus.queue("broker").base
    registration = '{"serviceName":"account","listensTo":["ORDER_SUCCESS"]}'
    fields = {"name": "hippo.register", "data": registration, "opts": options, "timestamp": 1, "rjk": "made-up"}
    await bus.redis.hset(base + "made-up-tick-0001", mapping=fields)
    await bus.redis.lpush(base + "wait", "made-up-tick-0001")
    await bus.broker()
    await bus.listener(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS)

    await bus.messenger(HippoService.ORDER).send(ORDER)

    await bus.settled("shipping", wait=1)
    assert await bus.count("broker", "wait") == await bus.count("broker", "active") == 0


@pytest.mark.chaos
async def test_messengers_register_again_when_the_registry_is_gone(bus: Bus) -> None:
    await bus.broker()
    account = await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    recorder = Recorder()
    await bus.worker(account, recorder)
    keys = [key async for key in bus.redis.scan_iter(match=f"{bus.settings.prefix.replace('[', '')}*")]

    await bus.redis.delete(*keys)

    async def healed() -> None:
        assert await listens_to(bus, "account") == ["ORDER_SUCCESS"]

    await eventually(healed)
    event_id = await bus.messenger(HippoService.ORDER).send(ORDER)
    assert [job.id for job in await recorder.got(1)] == [event_id]


async def test_a_broker_that_starts_routes_correctly_at_once(bus: Bus) -> None:
    first = await bus.broker()
    await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    await first.stop()
    await bus.messenger(HippoService.ORDER).send_many([ORDER] * 5)

    await bus.broker()

    await bus.settled("account", wait=5)


async def test_while_nobody_is_registered_events_wait(bus: Bus, caplog: pytest.LogCaptureFixture) -> None:
    await bus.broker()
    event_id = await bus.messenger(HippoService.ORDER).send(ORDER)

    async def put_back() -> None:
        assert int((await bus.job("broker", event_id)).get("ats", 0)) >= 2

    await eventually(put_back)
    assert "no service is registered" in caplog.text
    await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)

    await bus.settled("account", wait=1)
    assert await bus.job_ids("account") == [event_id]


class Clashes(Observer):
    def __init__(self) -> None:
        self.seen: list[Clash] = []

    def clashed(self, clash: Clash) -> None:
        self.seen.append(clash)


async def test_two_deployments_that_register_one_service_in_turn_are_reported(
    bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    observer = Clashes()
    broker = await bus.broker(observer=observer)
    await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    await bus.listener(HippoService.ACCOUNT, HippoEvent.CONFIG_CHANGE)
    assert observer.seen == []
    await broker.stop()  # what was noted survives the broker
    await bus.broker(observer=observer)

    await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)

    async def told() -> None:
        assert len(observer.seen) == 1

    await eventually(told)  # routing is live a moment before the broker says so
    (clash,) = observer.seen
    assert clash.service == "account"
    assert (clash.stands.listens_to, clash.other.listens_to) == (("ORDER_SUCCESS",), ("CONFIG_CHANGE",))
    assert clash.stands.hosts == clash.other.hosts == (socket.gethostname(),)
    assert "account is registered in turn by two deployments" in caplog.text


async def test_one_messenger_that_changes_its_list_and_back_is_not_reported(bus: Bus) -> None:
    observer = Clashes()
    await bus.broker(observer=observer)
    account = await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    for event_types in ([], [HippoEvent.ORDER_SUCCESS], []):
        account.set_listeners(event_types)
        await account.register(wait=True)
    assert await bus.redis.llen(bus.layout.registry_changes("account")) == 4
    await bus.listener(HippoService.SHIPPING)  # the broker is through with what was before
    assert observer.seen == []
