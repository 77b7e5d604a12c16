"""Promise 5: a copy that can't be delivered is parked, and stays until it is delivered or discarded."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService, OrderSuccess
from hippo_messenger.observer import Observer
from hippo_messenger.queues.call import Caller
from hippo_messenger.queues.redrive import RedrivePlan
from hippo_messenger.queues.registry import Registry
from hippo_messenger.registration import Maker, Registration
from hippo_messenger.testing import eventually
from tests.contract.bus import Bus
from tests.contract.letters import ALL, connection, redriving

ORDER = OrderSuccess(order_id="A-1", total=Decimal(1))
EVENT_ID = "an-event-that-is-parked"
PARKED_ID = f"parked-account-{EVENT_ID}"


async def parking(bus: Bus) -> str:
    """A broker that keeps no completed job, and account, whose queue can't be written because of the key returned."""
    await bus.broker(settings=bus.settings.model_copy(update={"completed_count": 0}))
    await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    broken = bus.queue("account").base + "wait"
    await bus.redis.set(broken, "somebody's")
    return broken


async def failed_again(bus: Bus, times: int) -> dict[str, Any]:
    """The parked copy, once it was redriven so many times and has failed each time."""
    found: dict[str, Any] = {}

    async def check() -> None:
        nonlocal found
        [found] = await bus.failed("broker")
        assert len(json.loads(found["history"])) == times

    await eventually(check)
    return found


async def test_a_parked_copy_that_is_redriven_too_soon_stays_one_dead_letter(bus: Bus) -> None:
    """It was parked anew under its own id, then completed, and trimmed as a completed job: the copy was lost."""
    broken = await parking(bus)
    await bus.messenger(HippoService.ORDER).send(ORDER, event_id=EVENT_ID)
    await bus.settled("broker", failed=1)

    for times in (1, 2):
        await redriving(bus, "broker").run(RedrivePlan(ALL))
        letter = await failed_again(bus, times)
        assert letter["id"] == PARKED_ID
        assert (letter["data"]["id"], letter["opts"]["deliverTo"]) == (EVENT_ID, ["account"])
        assert f"not delivered to account: {broken} holds a string" in letter["failedReason"]
        assert await bus.counts("broker") == {"failed": 1}
    await bus.redis.delete(broken)
    await redriving(bus, "broker").run(RedrivePlan(ALL))

    await bus.settled("account", wait=1)
    assert await bus.job_ids("account") == [EVENT_ID]
    await bus.settled("broker")


async def test_two_events_with_one_id_are_parked_side_by_side(bus: Bus) -> None:
    """Ids count for one sender: the second copy took the place of the first, which was lost."""
    broken = await parking(bus)
    await bus.messenger(HippoService.ORDER).send(ORDER, event_id=EVENT_ID)
    await bus.settled("broker", failed=1)
    await bus.messenger(HippoService.BILLING).send(ORDER, event_id=EVENT_ID)
    await bus.settled("broker", failed=2)

    first, second = await bus.failed("broker")
    assert first["id"] == PARKED_ID
    assert second["id"].startswith(f"{PARKED_ID}-")
    assert [letter["data"]["source"] for letter in (first, second)] == ["order", "billing"]
    await bus.redis.delete(broken)
    await redriving(bus, "broker").run(RedrivePlan(ALL))

    await bus.settled("account", wait=1)  # under one id there is room for one of them
    assert (await bus.job("account", EVENT_ID))["data"]["source"] == "order"
    letter = await failed_again(bus, 1)
    assert (letter["id"], letter["data"]["source"]) == (second["id"], "billing")
    assert "an event of another service with the same id" in letter["failedReason"]


async def test_a_copy_for_a_service_that_is_gone_fails_again_and_for_one_that_is_back_is_delivered(bus: Bus) -> None:
    """One that was idle meanwhile went by what it remembered: a copy completed though nobody got it, or was refused."""
    broken = await parking(bus)
    await bus.listener(HippoService.BILLING)  # so that the registry is never empty
    await bus.messenger(HippoService.ORDER).send(ORDER, event_id=EVENT_ID)
    await bus.settled("broker", failed=1)
    await bus.redis.delete(broken)
    line = connection(bus, None)
    registry = Registry(line, bus.layout, caller=Caller(line, observer=Observer()))
    await registry.remove("account", events_stream=True)

    await redriving(bus, "broker").run(RedrivePlan(ALL))

    letter = await failed_again(bus, 1)
    assert letter["id"] == PARKED_ID
    assert letter["failedReason"].startswith("UnknownServiceError: ")
    assert "'account'" in letter["failedReason"]
    assert await bus.counts("account") == {}
    back = Registration(service="account", listens_to=frozenset())
    await registry.write(back, number=1000, maker=Maker(instance="one", host="elsewhere"))

    await redriving(bus, "broker").run(RedrivePlan(ALL))

    await bus.settled("account", wait=1)
    await bus.settled("broker")
