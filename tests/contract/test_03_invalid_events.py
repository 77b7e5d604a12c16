"""Promise 3: an event that doesn't fit is never delivered, and its sender and the failed jobs say why."""

from __future__ import annotations

import json
from typing import Any, Self

import pytest
from pydantic import model_validator

from hippo_messenger.catalogue.catalogue import Catalogue
from hippo_messenger.catalogue.golden_hippo import CATALOGUE, HippoEvent, HippoService, OrderSuccess
from hippo_messenger.errors import EventValidationError
from hippo_messenger.testing import eventually
from tests.contract.bus import Bus, Recorder


class Picky(OrderSuccess, event_type=HippoEvent.ORDER_SUCCESS, since="1.0"):
    """An order, read by a validator with a fault."""

    @model_validator(mode="after")
    def check(self) -> Self:
        if self.order_id == "bad":
            raise ZeroDivisionError
        return self


OTHERS = [CATALOGUE.model(kind) for kind in HippoEvent if kind is not HippoEvent.ORDER_SUCCESS]
PICKY = Catalogue(services=HippoService, events=HippoEvent, models=[*OTHERS, Picky])

INVALID = {"orderId": ["not", "a", "string"], "total": "a lot"}


async def test_send_names_each_field_and_the_event_is_recorded_as_rejected(bus: Bus) -> None:
    sender = bus.messenger(HippoService.ORDER)

    with pytest.raises(EventValidationError) as caught:
        await sender.send(event_type=HippoEvent.ORDER_SUCCESS, data=INVALID, notify_self=True, event_id="x" * 20)

    assert {field.path for field in caught.value.fields} == {"orderId", "total"}
    for queue in ("broker", "order"):
        [record] = await bus.failed(queue)
        assert record["name"] == "ORDER_SUCCESS"
        assert record["data"]["data"] == INVALID
        assert "total" in record["failedReason"]
        assert record["id"].startswith("rejected-")
    assert await bus.counts("broker") == {"failed": 1}
    await sender.send(event_type=HippoEvent.ORDER_SUCCESS, data={"orderId": "A", "total": 1}, event_id="x" * 20)
    assert await bus.counts("broker") == {"failed": 1, "wait": 1}


async def test_the_record_of_a_rejected_event_is_cut_and_shows_no_secret(bus: Bus) -> None:
    settings = bus.settings.model_copy(update={"rejected_bytes": 500})
    sender = bus.messenger(HippoService.ACCOUNT, settings=settings)
    for data in ({"verificationToken": "my-secret"}, {"accountId": ["x" * 5000], "verificationToken": "my-secret"}):
        with pytest.raises(EventValidationError):
            await sender.send(event_type=HippoEvent.ACCOUNT_REGISTERED, data=data)

    for record in await bus.failed("broker"):
        assert "my-secret" not in str(record)
        assert len(str(record["data"])) < 1000
    assert await bus.counts("broker") == {"failed": 2}


async def test_an_event_whose_reading_fails_harms_no_other(bus: Bus) -> None:
    """Guards against one event that takes every broker with it: a validator may raise whatever it likes."""
    await bus.broker(catalogue=PICKY)
    await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    sender = bus.messenger(HippoService.ORDER)

    bad = await sender.send(event_type=HippoEvent.ORDER_SUCCESS, data={"orderId": "bad", "total": 1})
    good = await sender.send(event_type=HippoEvent.ORDER_SUCCESS, data={"orderId": "good", "total": 1})

    await bus.settled("account", wait=1)
    assert await bus.job_ids("account") == [good]
    [record] = await bus.failed("broker")
    assert record["id"] == bad
    assert "reading it raised ZeroDivisionError" in record["failedReason"]


async def test_send_raises_whatever_redis_does(bus: Bus, unused_port: int) -> None:
    sender = bus.messenger(HippoService.ORDER, url=f"redis://127.0.0.1:{unused_port}")

    with pytest.raises(EventValidationError):
        await sender.send(event_type=HippoEvent.ORDER_SUCCESS, data=INVALID)


async def test_only_the_newest_rejected_events_are_kept_and_other_failed_jobs_stay(bus: Bus) -> None:
    settings = bus.settings.model_copy(update={"rejected_count": 3, "rejected_bytes": 500})
    sender = bus.messenger(HippoService.ORDER, settings=settings)
    await bus.redis.zadd(bus.queue("broker").base + "failed", {"a-dead-letter": 1})

    for number in range(6):
        with pytest.raises(EventValidationError):
            await sender.send(event_type=HippoEvent.ORDER_SUCCESS, data={"orderId": f"A-{number}" + "x" * 2000})

    kept = await bus.failed("broker")
    assert [record["id"].split("-")[0] for record in kept] == ["a", "rejected", "rejected", "rejected"]
    assert all(len(json.dumps(record["data"])) <= 500 for record in kept[1:])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("no json at all", "the whole"),
        ("[]", "the whole"),
        ("{}", "specversion"),
        ({"type": "ORDER_SUCCESS", "data": INVALID}, "orderId"),
        ({"type": "ORDER_SUCCESS", "data": "text"}, "ORDER_SUCCESS"),
        ({"type": "CONFIG_CHANGE", "data": {}}, "CONFIG_CHANGE in a job named ORDER_SUCCESS"),
        ({"type": "ORDER_SUCCESS", "data": {"orderId": "A", "total": 1}, "source": "ordr"}, "did you mean order"),
    ],
)
async def test_what_another_sender_got_wrong_fails_in_the_broker_queue_with_its_reasons(
    bus: Bus, data: str | dict[str, Any], reason: str
) -> None:
    await bus.broker()
    account = await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS)
    recorder = Recorder()
    await bus.worker(account, recorder)
    if isinstance(data, dict):
        data = json.dumps({"specversion": "1.0", "id": "a" * 20, "source": "order"} | data)

    await add_as_a_peer(bus, "foreign-event-0001", "ORDER_SUCCESS", data)

    async def failed() -> None:
        [job] = [job for job in await bus.failed("broker") if job["id"] == "foreign-event-0001"]
        assert reason in job["failedReason"]

    await eventually(failed)
    event_id = await bus.messenger(HippoService.ORDER).send(
        event_type=HippoEvent.ORDER_SUCCESS, data={"orderId": "A", "total": 1}
    )
    assert [job.id for job in await recorder.got(1)] == [event_id]


async def add_as_a_peer(bus: Bus, job_id: str, name: str, data: str) -> None:
    """Add a job as a foreign program might, without asking anybody."""
    base = bus.queue("broker").base
    fields: dict[str, Any] = {
        "name": name,
        "data": data,
        "opts": '{"attempts":3}',
        "timestamp": 1,
        "delay": 0,
        "priority": 0,
    }
    async with bus.redis.pipeline() as pipeline:
        pipeline.hset(base + job_id, mapping=fields)
        pipeline.lpush(base + "wait", job_id)
        pipeline.zadd(base + "marker", {"0": 0})
        await pipeline.execute()
