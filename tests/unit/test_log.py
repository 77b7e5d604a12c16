"""The package's log can be written to a file, whatever came from elsewhere."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from hippo_messenger.log import log


@pytest.mark.parametrize("reason", ["\udcff\udcfe", "half of a pair: \ud800", "both: \U0001f99b", "Größe"])
def test_a_file_in_utf_8_takes_whatever_stands_in_a_message(tmp_path: Path, reason: str) -> None:
    # Guards: a handler's failure is printed by logging itself, or not at all, and the line is lost.
    handler = logging.FileHandler(tmp_path / "log", encoding="utf-8")
    handler.handleError = lambda record: pytest.fail(f"not written: {record.msg!r}")  # type: ignore[method-assign]
    log.addHandler(handler)
    try:
        log.warning("job %s failed: %s", "order-1", reason)
    finally:
        log.removeHandler(handler)
        handler.close()

    line = (tmp_path / "log").read_text(encoding="utf-8")
    assert line == f"job order-1 failed: {reason}\n".encode(errors="backslashreplace").decode()
