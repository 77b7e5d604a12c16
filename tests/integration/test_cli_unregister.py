"""What `hippo unregister` does to the jobs of a service, and to its messengers that run; each run as a process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService
from hippo_messenger.errors import DeadLetter
from hippo_messenger.testing import eventually
from hippo_messenger.worker import HippoWorker
from tests.contract.bus import Bus, Recorder
from tests.integration.commands import Operator
from tests.integration.test_cli_operations import ORDER


@pytest.fixture
async def hippo(bus: Bus, tmp_path: Path) -> AsyncIterator[Operator]:
    operator = Operator(bus, tmp_path)
    yield operator
    await operator.close()


async def test_a_messenger_that_runs_does_not_register_again_what_was_unregistered(bus: Bus, hippo: Operator) -> None:
    settings = bus.settings.model_copy(update={"presence_interval": 0.05})
    await bus.broker()
    shipping = await bus.listener(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS, settings=settings)
    await bus.listener(HippoService.BILLING, settings=settings)
    await presence_was_noted(bus, "shipping")

    assert "from 1 messenger in the last minute" in await hippo.run("unregister", "shipping", code=2)
    await hippo.run("unregister", "shipping", "--force")

    for _ in range(3):
        await presence_was_noted(bus, "billing")
    assert not await bus.redis.hexists(bus.layout.registry, "shipping")
    assert await bus.redis.exists(bus.layout.presence("shipping")) == 0
    await shipping.register(wait=True)
    await presence_was_noted(bus, "shipping")
    assert await bus.redis.hkeys(bus.layout.unregistered) == []


async def presence_was_noted(bus: Bus, service: str) -> None:
    """Wait until a messenger of this service has said once more that it is there."""
    newest = await bus.redis.zrange(bus.layout.presence(service), -1, -1, withscores=True)

    async def noted() -> None:
        assert await bus.redis.zrange(bus.layout.presence(service), -1, -1, withscores=True) not in ([], newest)

    await eventually(noted)


async def keys_of(bus: Bus, service: str) -> list[bytes]:
    pattern = bus.queue(service).base + "*"
    return [key async for key in bus.redis.scan_iter(match=pattern)]


async def test_a_service_is_drained_and_then_its_queue_is_gone(bus: Bus, hippo: Operator) -> None:
    await bus.broker()
    shipping = await bus.listener(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS)
    order = bus.messenger(HippoService.ORDER)
    await order.send_many([ORDER] * 5)
    await bus.settled("shipping", wait=5)
    said = await hippo.run("unregister", "shipping", "--drain", "--force", "--timeout", "0", code=1, lines=2)
    assert "5 jobs wait and 0 are in hand: is a worker running?" in said

    recorder = Recorder()
    draining = asyncio.create_task(hippo.run("unregister", "shipping", "--drain"))
    worker = await bus.worker(shipping, recorder)
    assert "shipping gets no more events; its queue is gone" in await draining
    await worker.stop()
    await recorder.got(5)
    assert await bus.counts("shipping") == {}


async def test_a_service_with_dead_letters_is_not_gone_when_it_is_drained(bus: Bus, hippo: Operator) -> None:
    await bus.broker()
    shipping = await bus.listener(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS)
    async with HippoWorker(messenger=shipping, processor=Recorder(raises=[DeadLetter("broken")])):
        await bus.messenger(HippoService.ORDER).send(ORDER)
        await bus.settled("shipping", failed=1)
    await shipping.close()
    said = await hippo.run("unregister", "shipping", "--drain", "--force", code=1, lines=2)
    assert "1 dead letters stay" in said
    said = await hippo.run("unregister", "shipping", "--discard", "--force", code=2, lines=1)
    assert "1 jobs of shipping (1 of them failed)" in said
    assert "`hippo failed export shipping` keeps a copy" in said
    await bus.settled("shipping", failed=1)


async def test_the_jobs_of_a_service_are_discarded_only_when_that_is_confirmed(bus: Bus, hippo: Operator) -> None:
    await bus.broker()
    shipping = await bus.listener(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS)
    await bus.messenger(HippoService.ORDER).send_many([ORDER] * 450)
    await bus.settled("shipping", wait=450)
    await shipping.unregister()

    said = await hippo.run("unregister", "shipping", "--discard", code=2)
    assert "450 jobs of shipping (0 of them failed) will be gone for good. Say --yes" in said
    assert "several" in await hippo.run("unregister", "shipping", "--discard", "--keep", code=2)
    assert await bus.counts("shipping") == {"wait": 450}

    said = await hippo.run("unregister", "shipping", "--discard", "--yes")
    assert "450 jobs were discarded; its queue is gone" in said
    assert await keys_of(bus, "shipping") == []


async def test_what_an_unregistered_service_has_left_can_be_seen_and_cleared_away(bus: Bus, hippo: Operator) -> None:
    """Guards against a service of the registry alone that no command knows any more once it is unregistered."""
    base = bus.queue("parcels").base
    await bus.redis.hset(bus.layout.registry, "parcels", '{"serviceName":"parcels","listensTo":[]}')
    await bus.redis.hset(base + "a-job", mapping={"name": "X", "data": "{}", "opts": "{}", "failedReason": "no"})
    await bus.redis.zadd(base + "failed", {"a-job": 1})
    said = await hippo.run("unregister", "parcels", "--drain", code=1)
    assert "1 dead letters stay: redrive or discard them (`hippo failed list parcels`)" in said

    assert "1 dead letter in 1 group" in await hippo.run("failed", "list", "parcels")
    assert "1 dead letter in 1 group" in await hippo.run("failed", "list")
    assert [row["queue"] for row in await hippo.json("status")] == ["broker", "parcels"]
    assert [row["queue"] for row in await hippo.json("services")] == ["broker"]
    assert "parcels is paused" in await hippo.run("pause", "parcels")
    assert "parcels: none" in await hippo.run("limit", "parcels")
    await hippo.run("failed", "export", "parcels", "--output", "letters.ndjson")
    assert "would redrive 1 of parcels" in await hippo.run("failed", "redrive", "parcels", "--all", "--dry-run")
    assert "1 of parcels discarded" in await hippo.run("failed", "discard", "parcels", "a-job", "--reason", "gone")

    assert "its queue is gone" in await hippo.run("unregister", "parcels", "--drain")
    assert "got 'parcels'" in await hippo.run("failed", "list", "parcels", code=2)
    assert [row["queue"] for row in await hippo.json("status")] == ["broker"]
