"""Read by mypy alone (`make check`): what the types refuse. Each ignore that is not needed is an error there."""

from __future__ import annotations

from decimal import Decimal
from typing import assert_type

from hippo_messenger import (
    AccountRegistered,
    EventData,
    HippoEvent,
    HippoJob,
    HippoMessenger,
    HippoService,
    HippoWorker,
    OrderSuccess,
)


async def sends(messenger: HippoMessenger) -> None:
    assert_type(await messenger.send(OrderSuccess(order_id="A-1", total=Decimal(1))), str)
    assert_type(await messenger.send(event_type=HippoEvent.ORDER_SUCCESS, data={"orderId": "A-1"}), str)
    await messenger.send(event_type="ORDER_SUCCESS", data={})  # type: ignore[call-overload]
    await messenger.send("ORDER_SUCCESS")  # type: ignore[call-overload]
    await messenger.send({"orderId": "A-1"})  # type: ignore[call-overload]
    messenger.set_listeners([HippoEvent.ORDER_SUCCESS])
    messenger.set_listeners(["ORDER_SUCCESS"])  # type: ignore[list-item]


def makes() -> None:
    HippoMessenger(service_name=HippoService.ORDER, listens_to=[HippoEvent.ORDER_SUCCESS])
    HippoMessenger(service_name="order")  # type: ignore[arg-type]
    HippoMessenger(service_name=HippoService.ORDER, listens_to=["ORDER_SUCCESS"])  # type: ignore[list-item]
    HippoMessenger(HippoService.ORDER)  # type: ignore[call-arg]


def narrows(job: HippoJob[EventData]) -> str:
    match job.data:
        case OrderSuccess() as order:
            return order.order_id
        case AccountRegistered(account_id=account_id):
            return account_id
        case _:
            return job.id


def registers(worker: HippoWorker) -> None:
    @worker.on(OrderSuccess)
    async def one(job: HippoJob[OrderSuccess]) -> None:
        assert_type(job.data.total, Decimal)

    @worker.on(OrderSuccess)  # type: ignore[arg-type]
    async def other(job: HippoJob[AccountRegistered]) -> None: ...
