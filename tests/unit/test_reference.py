"""What the reference pages say, beside that they are made from the code."""

from __future__ import annotations

import re

import pytest

from hippo_messenger import testing
from hippo_messenger_pytest import plugin, with_asyncio
from scripts.make_reference import FOR_OTHER_ROOMS, api_page, errors_page, kit_page


def section(page: str, name: str) -> str:
    """What a page says about one name."""
    (found,) = [part for part in page.split("\n## ") if part.partition("\n")[0] == name]
    return found


@pytest.mark.parametrize(
    ("name", "written", "words"),
    [
        ("Expiry", "Expiry = float | datetime\n", "Seconds from now, or a time with a zone."),
        ("Processor", "Processor = Callable[[HippoJob[Data]], Awaitable[object] | object]\n", "called with one job;"),
        ("RedisSource", "RedisSource = str | Redis | RedisCluster\n", 'A URL, "embedded", or a client'),
    ],
)
def test_a_type_alias_is_shown_as_it_is_written_with_its_words(name: str, written: str, words: str) -> None:
    said = section(api_page(), name)
    assert written in said
    assert words in said


def test_an_error_says_its_attributes_and_what_else_it_is() -> None:
    assert "- `fields`: A `FieldError` for each field that is wrong." in section(errors_page(), "EventValidationError")
    assert "- `event_ids`: The events it is about" in section(errors_page(), "SendError")
    assert "a [SendError](#senderror) (with `event_ids`)" in section(errors_page(), "PossiblySentError")
    assert "Is an [EventError](#eventerror), a [HippoError](#hippoerror) and a `ValueError`." in section(
        errors_page(), "EventTooLargeError"
    )
    assert section(errors_page(), "RegistrationTimeoutError").rstrip().endswith("and a `TimeoutError`.")
    assert "Is a E" not in errors_page()


def test_every_attribute_of_an_error_has_words() -> None:
    listed = re.findall(r"^\*Attributes:\*\n\n((?:- .*\n)+)", errors_page(), re.MULTILINE)
    assert listed
    assert all(": " in row for rows in listed for row in rows.splitlines())


def test_what_is_no_error_stands_behind_the_errors_with_its_fields() -> None:
    *_, last = errors_page().split("\n## ")
    assert last.startswith("FieldError\n")
    assert all(f"- `{field}: str`: " in last for field in ("path", "expected", "got"))
    assert "Is a" not in last


def test_a_protocol_is_shown_without_the_constructor_that_it_has_not() -> None:
    assert "JobChannel(" not in section(api_page(), "JobChannel")


def test_what_is_for_other_rooms_alone_is_shown_nowhere() -> None:
    assert FOR_OTHER_ROOMS
    assert not [name for name in FOR_OTHER_ROOMS if f"### {name}" in api_page()]


@pytest.mark.parametrize("name", testing.__all__)
def test_every_name_of_the_test_kit_is_shown(name: str) -> None:
    assert section(kit_page(), name).strip() != name


def test_what_a_base_says_is_not_said_again() -> None:
    assert "channel" not in section(kit_page(), "HandmadeJob")


def test_every_fixture_is_shown_with_what_it_gives() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| `(\w+)` \|", section(kit_page(), "Fixtures"), re.MULTILINE))
    assert rows == {"hippo": "System", "hippo_redis_url": "str", "hippo_prefix": "str", "hippo_settings": "Settings"}
    assert rows.keys() == {*plugin.__all__, *with_asyncio.__all__} - {"pytest_configure"}
