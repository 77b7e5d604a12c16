"""What a catalogue takes, what it refuses, and what the shipped one holds."""

from __future__ import annotations

import warnings
from enum import auto
from pathlib import Path

import pytest

from hippo_messenger.catalogue import golden_hippo
from hippo_messenger.catalogue.catalogue import Catalogue, DeprecationNotices
from hippo_messenger.catalogue.golden_hippo import CATALOGUE, HippoEvent, HippoService, OrderPlaced, OrderSuccess
from hippo_messenger.catalogue.model import EventData, EventType, Service
from hippo_messenger.errors import CatalogueError, UnknownEventTypeError, UnknownServiceError


class Shop(Service):
    TILL = auto()
    STORE = auto()


class ShopEvent(EventType):
    SOLD = auto()
    RETURNED = auto()


class Sold(EventData, event_type=ShopEvent.SOLD, since="1.0"):
    """Something was sold."""

    article: str


class Returned(EventData, event_type=ShopEvent.RETURNED, since="1.1"):
    """Something came back."""

    article: str


def shop(*models: type[EventData], services: type[Service] = Shop) -> Catalogue:
    return Catalogue(services=services, events=ShopEvent, models=models or (Sold, Returned))


def test_a_company_brings_its_own() -> None:
    catalogue = shop()
    assert catalogue.services == (Shop.TILL, Shop.STORE)
    assert catalogue.event_types == (ShopEvent.SOLD, ShopEvent.RETURNED)
    assert catalogue.model(ShopEvent.SOLD) is Sold
    assert ShopEvent.SOLD in catalogue
    assert HippoEvent.ORDER_SUCCESS not in catalogue


def test_wire_names_come_from_the_members() -> None:
    assert (Shop.TILL.value, ShopEvent.SOLD.value) == ("till", "SOLD")
    assert catalogue_lookup("till") is Shop.TILL


def catalogue_lookup(name: str) -> Service:
    return shop().service(name)


def test_type_meaning_and_version_are_declared_with_the_model() -> None:
    assert (Sold.event_type, Sold.meaning, Sold.since, Sold.deprecation) == (
        ShopEvent.SOLD,
        "Something was sold.",
        "1.0",
        None,
    )


def test_every_type_has_one_model() -> None:
    with pytest.raises(CatalogueError, match="RETURNED: expected a model, there is none"):
        shop(Sold)
    with pytest.raises(CatalogueError, match="SOLD: expected one model, got Sold and Sold"):
        shop(Sold, Sold, Returned)
    with pytest.raises(CatalogueError, match="OrderSuccess: expected event_type to be a member of ShopEvent"):
        shop(Sold, Returned, OrderSuccess)


def test_a_model_says_what_it_is() -> None:
    with pytest.raises(CatalogueError, match="expected a docstring"):

        class Silent(EventData, event_type=ShopEvent.SOLD, since="1.0"):
            article: str

    with pytest.raises(CatalogueError, match="expected since="):

        class Timeless(EventData, event_type=ShopEvent.SOLD):
            """Something."""

    with pytest.raises(CatalogueError, match="expected event_type to be a member of an EventType, got 'SOLD'"):

        class Loose(EventData, event_type="SOLD", since="1.0"):
            """Something."""


def test_a_model_that_forbids_unknown_fields_is_refused() -> None:
    class Strict(EventData, event_type=ShopEvent.SOLD, since="1.0", extra="forbid"):
        """Something was sold."""

    with pytest.raises(CatalogueError, match="expected unknown fields to be kept"):
        shop(Strict, Returned)


@pytest.mark.parametrize("name", ["broker", "seen", "registry", "presence", "rejected", "Till", "a:b", "", "é"])
def test_a_service_name_that_cannot_be_a_queue_is_refused(name: str) -> None:
    services = Service("Bad", {"ONE": name})  # type: ignore[call-arg]
    with pytest.raises(CatalogueError, match="expected a wire name of up to 64 lower-case letters"):
        shop(services=services)  # type: ignore[arg-type]


def test_what_is_unknown_is_answered_with_what_comes_close() -> None:
    with pytest.raises(UnknownServiceError, match="did you mean order"):
        CATALOGUE.service("orders")
    with pytest.raises(UnknownEventTypeError, match="did you mean ORDER_SUCCESS"):
        CATALOGUE.event_type("ORDER_SUCESS")
    with pytest.raises(UnknownServiceError, match="known: store, till"):
        shop().service("xyz")


def test_a_plain_string_is_no_member() -> None:
    with pytest.raises(UnknownEventTypeError, match=r"an enum member.*did you mean HippoEvent\.ORDER_SUCCESS"):
        CATALOGUE.require_event_type("HippoEvent.ORDER_SUCCES")
    with pytest.raises(UnknownServiceError, match=r"an enum member.*'order'"):
        CATALOGUE.require_service("order")
    with pytest.raises(UnknownEventTypeError):
        CATALOGUE.require_event_type(ShopEvent.SOLD)


def test_it_loads_from_where_it_is_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "own_events_of_this_test.py").write_text("from tests.unit.test_catalogue import shop\nALL = shop()\n")
    assert Catalogue.load("own_events_of_this_test:ALL", search_path=tmp_path).event_types == tuple(ShopEvent)
    named = {"HIPPO_CATALOGUE": "own_events_of_this_test:ALL"}
    assert Catalogue.from_environment(named).services == tuple(Shop)
    assert Catalogue.from_environment({}) is CATALOGUE


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("nonsense", 'expected a catalogue as "module:attribute"'),
        ("no_such_module:X", "can't be loaded: No module named"),
        ("hippo_messenger.catalogue.golden_hippo:X", "expected an attribute 'X'"),
        ("hippo_messenger.catalogue.golden_hippo:HippoEvent", "expected a Catalogue"),
    ],
)
def test_an_address_that_leads_nowhere_is_refused(address: str, reason: str) -> None:
    with pytest.raises(CatalogueError, match=reason):
        Catalogue.load(address)


def test_a_fault_in_the_module_of_a_catalogue_is_not_taken_for_a_name_that_it_lacks(tmp_path: Path) -> None:
    """Guards against a catalogue that is said not to be there, because its module tripped over an attribute itself."""
    (tmp_path / "broken_events_of_this_test.py").write_text("import sys\nsys.nothing\nCATALOGUE = None\n")
    with pytest.raises(AttributeError, match="nothing"):
        Catalogue.load("broken_events_of_this_test:CATALOGUE", search_path=tmp_path)


def test_a_deprecated_event_warns_once_and_names_its_replacement(caplog: pytest.LogCaptureFixture) -> None:
    notices = DeprecationNotices()
    with pytest.warns(DeprecationWarning, match=r"ORDER_PLACED is deprecated: .*HippoEvent\.ORDER_SUCCESS"):
        notices.warn(OrderPlaced)
    assert "send HippoEvent.ORDER_SUCCESS instead" in caplog.text
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        notices.warn(OrderPlaced)
        notices.warn(OrderSuccess)


def test_a_replacement_must_be_in_the_catalogue() -> None:
    class Old(
        EventData, event_type=ShopEvent.SOLD, since="1.0", deprecated="it is old", replaced_by=HippoEvent.ORDER_SUCCESS
    ):
        """Something was sold."""

    with pytest.raises(CatalogueError, match="replacement"):
        shop(Old, Returned)


# --- the shipped one ---


def test_the_shipped_catalogue_has_what_every_shop_needs() -> None:
    assert {"ACCOUNT", "BILLING", "CONFIG", "NOTIFICATION", "ORDER", "SHIPPING"} <= set(HippoService.__members__)
    assert {"CONFIG_CHANGE", "ORDER_SUCCESS", "ACCOUNT_REGISTERED"} <= set(HippoEvent.__members__)
    assert [service.value for service in HippoService] == [name.lower() for name in HippoService.__members__]
    assert [event.value for event in HippoEvent] == list(HippoEvent.__members__)


@pytest.mark.parametrize("event_type", list(HippoEvent))
def test_little_is_required_of_a_shipped_event(event_type: HippoEvent) -> None:
    """Required only where nothing makes sense without it: what it is about, and at most one thing more."""
    model = CATALOGUE.model(event_type)
    required = [field.alias for field in model.model_fields.values() if field.is_required()]
    assert 1 <= len(required) <= 2, required
    assert model.__name__ in golden_hippo.__all__


def test_the_required_fields_of_the_three_that_everybody_knows() -> None:
    def required(model: type[EventData]) -> set[str | None]:
        return {field.alias for field in model.model_fields.values() if field.is_required()}

    assert required(OrderSuccess) == {"orderId", "total"}
    assert required(CATALOGUE.model(HippoEvent.ACCOUNT_REGISTERED)) == {"accountId"}
