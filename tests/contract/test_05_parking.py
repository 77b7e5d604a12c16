"""Promise 5: a copy that can't be delivered is parked, and stays until it is delivered or discarded."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService, OrderSuccess
from hippo_messenger.queues.redrive import RedrivePlan
from hippo_messenger.testing import eventually
from tests.contract.bus import Bus
from tests.contract.letters import ALL, redriving

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
