"""What `send` raises, and what to do then."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from hippo_messenger import (
    EmbeddedServer,
    EventData,
    EventError,
    EventIdInUseError,
    EventTooLargeError,
    EventValidationError,
    HippoEvent,
    HippoMessenger,
    HippoService,
    OrderSuccess,
    SendError,
    Settings,
)

NOBODY_LISTENS_HERE = "redis://127.0.0.1:1"


async def sent(messenger: HippoMessenger, event: EventData, *, event_id: str) -> bool:
    """Whether Redis has the event now; where not, keep it and call this again with the same id."""
    try:
        await messenger.send(event, event_id=event_id)
    except (EventError, EventIdInUseError):  # the event or its id is wrong: no repetition will mend it
        raise
    except SendError as error:  # not sent, or possibly sent: the same id makes it safe to send again
        print(f"{type(error).__name__} for {event_id}")
        return False
    return True


async def show_wrong_events(redis: str) -> None:
    async with HippoMessenger(service_name=HippoService.ORDER, redis_connection=redis) as order:
        try:
            await order.send(event_type=HippoEvent.ORDER_SUCCESS, data={"total": "a lot", "currency": "usd"})
        except EventValidationError as error:
            for field in error.fields:
                print(f"{field.path}: {field.expected}")

        large = OrderSuccess(order_id="A-1", total=Decimal(1), coupon_codes=["X" * 100] * 20_000)
        try:
            await order.send(large)
        except EventTooLargeError as error:
            print(error)


async def show_redis_away() -> None:
    impatient = Settings(call_timeout=1)
    order = HippoMessenger(service_name=HippoService.ORDER, redis_connection=NOBODY_LISTENS_HERE, settings=impatient)
    event = OrderSuccess(order_id="A-1", total=Decimal("12.30"))
    async with order:
        print(await sent(order, event, event_id="order-A-1-success"))

        events = {f"order-A-{number}-success": event for number in (2, 3)}
        try:
            await order.send_many(list(events.values()), event_ids=list(events))
        except SendError as error:  # the others are sent; of these the same ids make it safe to send again
            events = {event_id: events[event_id] for event_id in error.event_ids}
            print(f"{len(events)} events are still to be sent")


async def main() -> None:
    async with EmbeddedServer.private() as server:
        await show_wrong_events(server.url)
    await show_redis_away()


if __name__ == "__main__":
    asyncio.run(main())
