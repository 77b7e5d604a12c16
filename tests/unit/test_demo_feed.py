"""The demo's feed and ledger: what is read, and what is refused with the line it stands in."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest

from hippo_messenger.catalogue.golden_hippo import CATALOGUE
from hippo_messenger.demo.feed import read_feed, shipped_feed
from hippo_messenger.demo.ledger import Entry, Ledger, LedgerReader
from hippo_messenger.errors import ConfigurationError

GOOD = '{"from":"order","type":"ORDER_SUCCESS","data":{"orderId":"A"}}'


def test_the_shipped_feed_has_some_thousand_events_of_many_kinds() -> None:
    feed = read_feed(shipped_feed(), catalogue=CATALOGUE)
    assert len(feed) > 2000
    assert len({line.event_type for line in feed}) >= 15
    assert max(Counter(line.event_id for line in feed).values()) == 2, "some are there twice"


def test_only_the_first_lines_where_that_is_asked_for() -> None:
    assert [line.number for line in read_feed(shipped_feed(), catalogue=CATALOGUE, limit=3)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("nonsense", "line 2: the line: Invalid JSON"),
        ('{"type":"ORDER_SUCCESS","data":{}}', "line 2: from: Field required"),
        ('{"from":"order","type":"ORDER_SUCCESS","data":[]}', "line 2: data: Input should be"),
        ('{"from":"orders","type":"ORDER_SUCCESS","data":{}}', "line 2: .*did you mean order"),
        ('{"from":"order","type":"ORDER_SUCESS","data":{}}', "line 2: .*did you mean ORDER_SUCCESS"),
        ('{"from":"order","type":"ORDER_SUCCESS","data":{},"prio":1}', "line 2: prio: Extra inputs"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, reason: str) -> None:
    (tmp_path / "own.ndjson").write_text(f"{GOOD}\n{line}\n")
    with pytest.raises(ConfigurationError, match=reason):
        read_feed(tmp_path / "own.ndjson", catalogue=CATALOGUE)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.ndjson: No such file"):
        read_feed(tmp_path / "none.ndjson", catalogue=CATALOGUE)


def test_a_ledger_is_read_while_it_grows(tmp_path: Path) -> None:
    ledger, reader = Ledger(tmp_path, "order"), LedgerReader(tmp_path)
    ledger.note("sent", line=1, event_id="a", at=1.5)
    assert list(reader.new_entries()) == [Entry("sent", "order", line=1, event_id="a", at=1.5)]
    assert list(reader.new_entries()) == []
    before = time.time()
    ledger.note("done", event_id="a", attempt=2)
    with (tmp_path / "order.ndjson").open("a") as half:
        half.write('{"what":"do')
    (entry,) = reader.new_entries()
    assert entry == Entry("done", "order", event_id="a", attempt=2, at=entry.at)
    assert before <= entry.at <= time.time()
    ledger.close()
