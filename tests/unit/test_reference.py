"""What the reference pages say, beside that they are made from the code."""

from __future__ import annotations

import pytest

from scripts.make_reference import api_page


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
