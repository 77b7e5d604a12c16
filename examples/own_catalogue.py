"""A company's own catalogue: its services, its event types, and one model for the data of each.

    hippo broker --catalogue examples.own_catalogue:CATALOGUE

Run as a program it shows what the catalogue takes and what it refuses.
"""

from __future__ import annotations

import warnings
from decimal import Decimal
from enum import auto
from typing import Annotated

from hippo_messenger import Catalogue, EventData, EventPart, EventType, EventValidationError, Secret, Service
from hippo_messenger.catalogue.model import read_data, to_wire


class ShopService(Service):
    """Who takes part; `auto()` makes `till` of TILL, which is also the name of its queue."""

    TILL = auto()
    STOCK = auto()
    LOYALTY = auto()


class ShopEvent(EventType):
    """What can happen; `auto()` makes the member's name the type on the wire."""

    SOLD = auto()
    SALE = auto()
    CARD_ISSUED = auto()


class Article(EventPart):
    """One line of a receipt."""

    sku: str
    price: Decimal


class Sold(EventData, event_type=ShopEvent.SOLD, since="1.1"):
    """Somebody has bought something."""

    receipt_id: str
    articles: list[Article] | None = None
    card_number: Annotated[str | None, Secret()] = None  # never shown, not in an error either


class Sale(
    EventData,
    event_type=ShopEvent.SALE,
    since="1.0",
    deprecated="it knew only the sum",
    replaced_by=ShopEvent.SOLD,
):
    """Somebody has bought something, for so much.

    Nothing is ever removed from a catalogue: it is deprecated.
    """

    total: Decimal


class CardIssued(EventData, event_type=ShopEvent.CARD_ISSUED, since="1.0"):
    """A customer has a loyalty card."""

    customer_id: str


CATALOGUE = Catalogue(
    name="shop", version="1.1", services=ShopService, events=ShopEvent, models=[Sold, Sale, CardIssued]
)


def main() -> None:
    for event_type in CATALOGUE.event_types:
        model = CATALOGUE.model(event_type)
        instead = model.deprecation.replaced_by if model.deprecation else None
        print(f"{event_type:<12} {model.meaning}" + (f" Deprecated: send {instead}." if instead else ""))

    # Wire names and Python names are both taken; what is unknown is kept; what is wrong is named.
    sold = read_data(Sold, {"receiptId": "R-1", "articles": [{"sku": "HIP-001", "price": "14.50"}], "till": 7})
    print(to_wire(sold).decode())
    try:
        read_data(Sold, {"articles": [{"price": "a lot"}], "cardNumber": 4711})
    except EventValidationError as error:
        print(error)


if __name__ == "__main__":
    warnings.simplefilter("default")
    main()
