"""What `hippo` shows of limits and of registrations that clash, and `hippo limit`; each run as a process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hippo_messenger.backlog import BacklogLimit
from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService
from tests.contract.bus import Bus
from tests.integration.commands import Operator
from tests.integration.test_cli_operations import ORDER


@pytest.fixture
async def hippo(bus: Bus, tmp_path: Path) -> AsyncIterator[Operator]:
    operator = Operator(bus, tmp_path)
    yield operator
    await operator.close()


async def test_services_that_two_deployments_register_in_turn_are_shown(bus: Bus, hippo: Operator) -> None:
    await bus.broker()
    for event_type in (HippoEvent.ORDER_SUCCESS, HippoEvent.CONFIG_CHANGE, HippoEvent.ORDER_SUCCESS):
        await bus.listener(HippoService.SHIPPING, event_type)
    for command in ("status", "services"):
        shown = await hippo.run(command)
        assert "shipping clash" in shown
        assert "clash: shipping is registered in turn by two deployments: one listens to ORDER_SUCCESS" in shown
    (row,) = [row for row in await hippo.json("services") if row["queue"] == "shipping"]
    assert row["clash"]["other"]["listens_to"] == ["CONFIG_CHANGE"]


async def test_limits_of_workers_are_set_shown_and_lifted(bus: Bus, hippo: Operator) -> None:
    await bus.broker()
    await bus.listener(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS)
    assert "limits" not in await hippo.run("status")
    assert await hippo.run("limit", "shipping") == "shipping: none\n"

    assert await hippo.run("limit", "SHIPPING", "--rate", "100/s") == "shipping: 100/s\n"
    assert await hippo.run("limit", "shipping", "--concurrency", "5") == "shipping: 100/s, 5 at a time\n"
    meta = await bus.redis.hgetall(bus.queue("shipping").base + "meta")
    assert (meta[b"max"], meta[b"duration"], meta[b"concurrency"]) == (b"100", b"1000", b"5")
    assert "100/s, 5 at a time" in await hippo.run("status")
    assert await hippo.json("limit", "shipping") == {"rate": {"jobs": 100, "period": 1.0}, "concurrency": 5}

    assert await hippo.run("limit", "shipping", "--off") == "shipping: none\n"
    left = await bus.redis.hkeys(bus.queue("shipping").base + "meta")
    assert not {b"max", b"duration", b"concurrency"} & set(left)


async def test_limits_that_only_node_would_set_are_shown_kept_and_lifted(bus: Bus, hippo: Operator) -> None:
    """It guards that a queue which Node has blocked, or limited for a week, is not taken for one without limits."""
    await bus.broker()
    await bus.listener(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS)
    meta = bus.queue("shipping").base + "meta"
    await bus.redis.hset(meta, mapping={"max": 100, "duration": 604_800_000})
    assert await hippo.run("limit", "shipping", "--concurrency", "5") == "shipping: 100/168h, 5 at a time\n"
    assert await bus.redis.hmget(meta, "max", "duration", "concurrency") == [b"100", b"604800000", b"5"]

    await bus.redis.hset(meta, "concurrency", 0)
    assert await hippo.run("limit", "shipping", "--rate", "9/s") == "shipping: 9/s, 0 at a time\n"
    assert "9/s, 0 at a time" in await hippo.run("status")
    await bus.redis.hset(meta, "concurrency", "-1")  # our scripts take it for none, but stock ones don't
    assert await hippo.run("limit", "shipping", "--off") == "shipping: none\n"
    assert not {b"max", b"duration", b"concurrency"} & set(await bus.redis.hkeys(meta))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("shipping", "--rate", "fast"), "expected a rate such as 100/s"),
        (("shipping", "--rate", "1/s", "--off"), "expected --off alone"),
        (("shiping", "--off"), "did you mean shipping"),
    ],
)
async def test_limits_that_are_none_are_refused(hippo: Operator, words: tuple[str, ...], said: str) -> None:
    assert said in await hippo.run("limit", *words, code=2)


async def test_a_full_service_is_shown(bus: Bus, hippo: Operator) -> None:
    await bus.broker()
    await bus.listener(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS, backlog=BacklogLimit(2))
    await bus.messenger(HippoService.ORDER).send_many([ORDER] * 3)
    await bus.settled("shipping", wait=2)
    shown = await hippo.run("status")
    assert "shipping full" in shown
    assert "2 waiting, then hold" in shown
    (row,) = [row for row in await hippo.json("status") if row["queue"] == "shipping"]
    assert row["backlog"] == {"jobs": 2, "when_full": "hold"}
