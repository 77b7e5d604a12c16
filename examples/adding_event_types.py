"""A catalogue grows while old processes still run: a new field, a new event type, and one that is retired."""

from __future__ import annotations

import asyncio
import warnings
from enum import auto

from hippo_messenger import (
    Catalogue,
    EmbeddedServer,
    EventData,
    EventType,
    HippoBroker,
    HippoJob,
    HippoMessenger,
    HippoWorker,
    Observer,
    Service,
    Settings,
)


class ShopService(Service):
    TILL = auto()
    STOCK = auto()


# What the old processes know.


class EventsOf1(EventType):
    SOLD = auto()


class SoldOf1(EventData, event_type=EventsOf1.SOLD, since="1.0"):
    """Somebody has bought something."""

    sku: str


OLD = Catalogue(version="1.0", services=ShopService, events=EventsOf1, models=[SoldOf1])


# What the new ones know: all of that, and more.


class ShopEvent(EventType):
    SOLD = auto()
    RETURNED = auto()
    EXCHANGED = auto()


class Sold(EventData, event_type=ShopEvent.SOLD, since="1.0"):
    """Somebody has bought something."""

    sku: str
    till: int | None = None  # new in 1.1, and so it may be left out


class Returned(EventData, event_type=ShopEvent.RETURNED, since="1.1"):
    """Somebody has brought something back."""

    sku: str


class Exchanged(
    EventData,
    event_type=ShopEvent.EXCHANGED,
    since="1.0",
    deprecated="it said two things at once",
    replaced_by=ShopEvent.RETURNED,
):
    """Somebody has brought something back for something else."""

    sku: str


NEW = Catalogue(version="1.1", services=ShopService, events=ShopEvent, models=[Sold, Returned, Exchanged])


class PutBack(Observer):
    """Notices when a worker puts a job back for another one."""

    def __init__(self) -> None:
        self.noticed = asyncio.Event()

    def settled(self, event_type: str, *, queue: str, outcome: str) -> None:
        if outcome == "later":
            self.noticed.set()


async def show(redis: str) -> None:
    impatient = Settings(unknown_type_delay=0.2)  # 30 s otherwise
    put_back = PutBack()
    heard: asyncio.Queue[str] = asyncio.Queue()

    old_stock = HippoMessenger(
        service_name=ShopService.STOCK,
        catalogue=OLD,
        redis_connection=redis,
        settings=impatient,
        observer=put_back,
    )
    new_stock = HippoMessenger(
        service_name=ShopService.STOCK,
        listens_to=[ShopEvent.SOLD, ShopEvent.RETURNED],
        catalogue=NEW,
        redis_connection=redis,
    )
    till = HippoMessenger(service_name=ShopService.TILL, catalogue=NEW, redis_connection=redis)
    old_worker = HippoWorker(messenger=old_stock)
    new_worker = HippoWorker(messenger=new_stock)

    @old_worker.on(SoldOf1)
    async def sold_of_1(job: HippoJob[SoldOf1]) -> None:
        await heard.put(f"old: {job.data.sku} is sold, and {job.data.model_extra}")

    @new_worker.on(Returned)
    async def returned(job: HippoJob[Returned]) -> None:
        await heard.put(f"new: {job.data.sku} is back")

    # The broker is the first that knows the new catalogue, then who listens, then who sends.
    async with HippoBroker(catalogue=NEW, redis_connection=redis), till, old_stock, new_stock:
        await new_stock.register(wait=True)
        async with old_worker:
            await till.send(Sold(sku="HIP-001", till=7))
            print(await heard.get())
            await till.send(Returned(sku="HIP-001"))
            await put_back.noticed.wait()  # the old worker has no processor for it
            async with new_worker:
                print(await heard.get())

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            await till.send(Exchanged(sku="HIP-002"))
        print(caught[0].message)


async def main() -> None:
    async with EmbeddedServer.private() as server:
        await show(server.url)


if __name__ == "__main__":
    asyncio.run(main())
