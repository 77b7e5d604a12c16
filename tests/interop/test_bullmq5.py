"""A BullMQ 5 peer may add. A queue that it pauses, by renaming, is refused by name; nothing is lost, and we go on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService
from hippo_messenger.errors import NotSentError, QueueCorruptedError
from hippo_messenger.queues.layout import BROKER_QUEUE
from hippo_messenger.testing import eventually
from tests.contract.bus import Bus
from tests.interop.story import Story, order
from tests.interop.tools import NodeTools

pytestmark = pytest.mark.interop

REFUSAL = r"{queue}:paused stands: a BullMQ 5 peer paused this queue by renaming it; resume it with BullMQ 6"


@pytest.fixture
async def five(bus: Bus) -> AsyncIterator[NodeTools]:
    """BullMQ 5 in Node."""
    tools = await NodeTools.start(bus.url, bus.settings.prefix, package="bullmq5")
    yield tools
    await tools.close()


def envelope(name: str) -> dict[str, Any]:
    data = {"orderId": name, "total": "1"}
    return {"specversion": "1.0", "id": event_id(name), "source": "order", "type": "ORDER_SUCCESS", "data": data}


def event_id(name: str) -> str:
    return f"of-bullmq-5-{name:->8}"


async def add(five: NodeTools, queue: str, name: str, **options: Any) -> None:
    await five.queue(queue, "add", "ORDER_SUCCESS", envelope(name), {"jobId": event_id(name), "attempts": 1, **options})


async def done(story: Story, *names: str) -> None:
    """Wait until exactly these orders have been processed."""

    async def check() -> None:
        assert sorted(story.desk.done) == sorted(names)

    await eventually(check)


async def test_what_it_adds_is_routed_and_processed(bus: Bus, five: NodeTools) -> None:
    story = await Story.begin(bus)
    await bus.worker(story.account, story.desk)

    await add(five, BROKER_QUEUE, "plain")
    await add(five, BROKER_QUEUE, "late", delay=100)
    await add(five, BROKER_QUEUE, "urgent", priority=3)
    await add(five, "account", "direct")

    await done(story, "plain", "late", "urgent", "direct")
    await story.until(completed=4)
    assert (await five.look("account", event_id("urgent")))["priority"] == 3
    assert (await five.look(BROKER_QUEUE, event_id("plain")))["returnvalue"] == {"deliveredTo": ["account"]}


async def test_it_registers_a_service(bus: Bus, five: NodeTools) -> None:
    story = await Story.begin(bus)
    data = {"serviceName": "billing", "listensTo": ["ORDER_SUCCESS"]}

    await five.queue(BROKER_QUEUE, "add", "hippo.register", data, {"lifo": True, "attempts": 1})
    await story.routed(2)
    await story.send("order-0")

    await bus.settled("billing", wait=1)


async def test_while_it_has_paused_the_broker_queue_nothing_is_sent_and_nothing_lost(bus: Bus, five: NodeTools) -> None:
    story = await Story.begin(bus)
    await bus.worker(story.account, story.desk)
    await five.queue(BROKER_QUEUE, "pause")  # nothing waits: there is no list to rename yet
    await add(five, BROKER_QUEUE, "added-0")
    await add(five, BROKER_QUEUE, "added-1")

    with pytest.raises(NotSentError, match=REFUSAL.format(queue=BROKER_QUEUE)) as refused:
        await story.sender.send(order("refused"))
    assert isinstance(refused.value.__cause__, QueueCorruptedError)
    with pytest.raises(NotSentError, match=REFUSAL.format(queue=BROKER_QUEUE)):
        await story.account.register()
    assert (await five.queue(BROKER_QUEUE, "getJobCounts", "paused", "wait")) == {"paused": 2, "wait": 0}
    assert story.desk.began == []

    await five.queue(BROKER_QUEUE, "resume")
    await done(story, "added-0", "added-1")
    await story.send("after")
    await done(story, "added-0", "added-1", "after")
    await story.routed(4)


async def test_while_it_has_paused_a_service_queue_only_its_copies_wait(
    bus: Bus, five: NodeTools, caplog: pytest.LogCaptureFixture
) -> None:
    story = await Story.begin(bus)
    shipping = await bus.listener(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS)
    await story.send("waits-0", "waits-1")
    await story.until(wait=2)
    await five.queue("account", "pause")

    await story.send("parked")
    await bus.settled("shipping", wait=3)
    with pytest.raises(NotSentError, match=REFUSAL.format(queue="account")):
        await story.account.send(order("refused"), notify_self=True)
    await bus.worker(story.account, story.desk)

    [parked] = await bus.failed(BROKER_QUEUE)
    assert parked["id"] == f"parked-account-{story.ids['parked']}"
    assert "a BullMQ 5 peer paused this queue" in parked["failedReason"]
    assert await five.queue("account", "getJobCounts", "paused", "wait") == {"paused": 2, "wait": 0}

    async def refused() -> None:
        assert "resume it with BullMQ 6; nothing was changed" in caplog.text

    await eventually(refused)
    assert story.desk.began == []

    await five.queue("account", "resume")
    await done(story, "waits-0", "waits-1")
    await five.job(BROKER_QUEUE, parked["id"], "retry")
    await done(story, "waits-0", "waits-1", "parked")
    await bus.settled("shipping", wait=3)
    assert shipping.listeners == {HippoEvent.ORDER_SUCCESS}


async def test_a_job_that_is_done_while_it_has_paused_is_settled_after(
    bus: Bus, five: NodeTools, caplog: pytest.LogCaptureFixture
) -> None:
    story = await Story.begin(bus)
    await bus.worker(story.account, story.desk, concurrency=1)
    await story.send("hold", "next")
    await story.until(active=1, wait=1)
    await five.queue("account", "pause")

    story.desk.go_on.set()

    async def cannot_settle() -> None:
        assert "settle: " in caplog.text

    await eventually(cannot_settle)
    assert await five.queue("account", "getJobState", story.ids["hold"]) == "active"
    await five.queue("account", "resume")
    await done(story, "hold", "next")
    await story.until(completed=2)
    assert story.desk.began == ["hold", "next"]


async def test_what_it_adds_to_a_queue_that_bullmq_6_paused_comes_back_with_bullmq_6(
    bus: Bus, node: NodeTools, five: NodeTools
) -> None:
    """There its own resume would replace `wait` by what it has added; that of BullMQ 6 joins the two."""
    story = await Story.begin(bus)
    await bus.worker(story.account, story.desk)
    await node.queue("account", "pause")
    await story.send("ours-0", "ours-1")
    await story.until(wait=2)
    await add(five, "account", "theirs-0")
    with pytest.raises(NotSentError, match=REFUSAL.format(queue="account")):
        await story.account.send(order("refused"), notify_self=True)

    await node.queue("account", "resume")

    await done(story, "ours-0", "ours-1", "theirs-0")
    await story.until(completed=3)
