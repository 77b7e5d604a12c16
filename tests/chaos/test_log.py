"""What was written stays, and is read while more is written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.chaos.log import Entry, Log, LogReader


def test_entries_are_read_once_each_while_a_file_grows(tmp_path: Path) -> None:
    reader = LogReader(tmp_path)
    log = Log(tmp_path / "account-1.001.log")
    log.note("began", "one", "1 1700")
    (first,) = reader.new_entries()
    assert (first.by, first.what, first.event_id, first.more) == ("account-1.001", "began", "one", "1 1700")
    assert not list(reader.new_entries())
    log.note("done", "one")
    assert [entry.what for entry in reader.new_entries()] == ["done"]


def test_half_an_entry_is_read_when_it_is_whole(tmp_path: Path) -> None:
    reader = LogReader(tmp_path)
    with (tmp_path / "node.001.log").open("ab", buffering=0) as file:
        file.write(b"1.5 began one 1 1700\n2.5 do")
        assert list(reader.new_entries()) == [Entry("node.001", 1.5, "began", "one", "1 1700")]
        file.write(b"ne one \n")
        assert list(reader.new_entries()) == [Entry("node.001", 2.5, "done", "one", "")]


def test_what_a_process_wrote_right_before_it_was_killed_is_there(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from tests.chaos.log import Log; "
        "log = Log(Path(sys.argv[1])); log.note('done', 'one'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "account-1.001.log")]
    ended = subprocess.run(words, cwd=Path(__file__).parents[2], env={**os.environ}, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert [entry.what for entry in LogReader(tmp_path).new_entries()] == ["done"]
