"""The command with streams that are closed, full, no UTF-8 or read no more: one line, and an exit code that is true."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from tests.contract.bus import Bus
from tests.integration.commands import HIDDEN, Operator
from tests.integration.test_cli_failed import ORDER, fail

ORDER_JSON = '{"orderId":"A-1","total":"12.30"}'
SEND = ("send", "ORDER_SUCCESS", "-", "--from", "order")
NONE: Mapping[str, str] = {}
DEEP = '{"a":' * 100_000


@pytest.fixture
async def hippo(bus: Bus, tmp_path: Path) -> AsyncIterator[Operator]:
    operator = Operator(bus, tmp_path)
    yield operator
    await operator.close()


class Shell:
    """Runs the command within a line of a shell, where it is `"$@"`."""

    def __init__(self, bus: Bus, directory: Path) -> None:
        self._bus = bus
        self._directory = directory

    async def __call__(
        self, line: str, *words: str, variables: Mapping[str, str] = NONE, stdout: int = PIPE
    ) -> tuple[int | None, str, str]:
        """Exit code, stdout and stderr."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(HIDDEN)}
        environment |= {"HIPPO_REDIS_URL": self._bus.url, "HIPPO_PREFIX": self._bus.settings.prefix, **variables}
        process = await asyncio.create_subprocess_exec(
            *("sh", "-c", line, "sh", sys.executable, "-m", "hippo_messenger", *words),
            env=environment,
            cwd=self._directory,
            stdin=DEVNULL,
            stdout=stdout,
            stderr=PIPE,
        )
        async with asyncio.timeout(60):
            out, err = await process.communicate()
        return process.returncode, (out or b"").decode(), err.decode()

    async def refused(self, line: str, *words: str, code: int, variables: Mapping[str, str] = NONE) -> str:
        """What is said in one line where it fails."""
        got, out, err = await self(line, *words, variables=variables)
        assert (got, out) == (code, ""), err
        assert err.startswith("hippo: ")
        assert err.count("\n") == 1, err
        return err


@pytest.fixture
def shell(bus: Bus, tmp_path: Path) -> Shell:
    return Shell(bus, tmp_path)


@pytest.mark.parametrize("variables", [{}, {"PYTHONUNBUFFERED": "1"}], ids=["held back", "at once"])
@pytest.mark.parametrize("words", [("status",), ("status", "--json"), ("events",), ("--version",)], ids=" ".join)
async def test_a_full_disk_is_told(shell: Shell, words: tuple[str, ...], variables: dict[str, str]) -> None:
    said = await shell.refused('"$@" > /dev/full', *words, code=1, variables=variables)
    assert "the output can't be used: No space left on device" in said


async def test_an_export_that_finds_no_room_has_exported_nothing(
    bus: Bus, shell: Shell, hippo: Operator, tmp_path: Path
) -> None:
    """Guards against `3 exported`, said before the first of them was written."""
    await fail(bus, *[ORDER] * 3)
    said = await shell.refused('"$@" > /dev/full', "failed", "export", "account", code=1)
    assert "No space left on device" in said
    words = ("failed", "export", "account", "-o", "letters.ndjson")
    said = await shell.refused('ulimit -f 0; exec "$@"', *words, code=1, variables={"PYTHONDONTWRITEBYTECODE": "1"})
    assert "letters.ndjson can't be used: File too large" in said
    assert not (tmp_path / "letters.ndjson").exists()


async def test_what_finds_no_room_in_a_file_is_not_discarded(bus: Bus, shell: Shell) -> None:
    await fail(bus, *[ORDER] * 3)
    words = ("failed", "discard", "account", "--all", "--reason", "test", "--export", "letters.ndjson")
    said = await shell.refused('ulimit -f 0; exec "$@"', *words, code=1, variables={"PYTHONDONTWRITEBYTECODE": "1"})
    assert "letters.ndjson can't be used: File too large" in said
    assert await bus.counts("account") == {"failed": 3}


@pytest.mark.parametrize("words", [("discard", "--reason", "x", "--export"), ("export", "-o")], ids=lambda it: it[0])
async def test_a_mistake_leaves_no_file_in_the_way(
    bus: Bus, hippo: Operator, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """Guards against an empty file for which the command is refused once the mistake is mended."""
    (event_id,) = await fail(bus, ORDER)
    command, *options = words
    for name in ("--group", "nothing"), (event_id[:-1] + "!",):
        await hippo.run("failed", command, "account", *name, *options, "letters.ndjson", code=1)
        assert not (tmp_path / "letters.ndjson").exists()
    await hippo.run("failed", command, "account", event_id, *options, "letters.ndjson")
    assert event_id in (tmp_path / "letters.ndjson").read_text()


@pytest.mark.parametrize("variables", [{}, {"PYTHONUNBUFFERED": "1"}], ids=["held back", "at once"])
async def test_a_reader_that_is_gone_is_no_cause_for_words(shell: Shell, variables: dict[str, str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    for words in (("events",), ("status", "--json"), ("status", "--watch", "0.2"), ("failed", "list"), ("--help",)):
        assert await shell('"$@"', *words, stdout=writing, variables=variables) == (1, "", ""), words
    os.close(writing)


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
async def test_what_is_no_utf_8_is_refused(shell: Shell, hippo: Operator, bus: Bus, locale: str) -> None:
    (event_id,) = await fail(bus, ORDER)
    for words in (SEND, ("failed", "edit", "account", event_id, "-")):
        said = await shell.refused(
            r"""printf '{"orderId":"\377"}' | "$@" """, *words, code=2, variables={"LC_ALL": locale}
        )
        assert r"expected UTF-8 on stdin, got b'\xff'" in said
    assert await bus.counts("account") == {"failed": 1}


async def test_what_is_utf_8_arrives_whatever_the_locale_says(bus: Bus, shell: Shell) -> None:
    line = """printf '{"orderId":"\\303\\244","total":"1"}' | "$@" """
    code, out, err = await shell(line, *SEND, variables={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})
    assert code == 0, err
    assert (await bus.job("broker", out.strip()))["data"]["data"]["orderId"] == "ä"


async def test_data_that_is_nested_too_deep_is_refused(shell: Shell, hippo: Operator, tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text(DEEP)
    assert "as a JSON object" in await shell.refused('"$@" < deep.json', *SEND, code=2)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (SEND, 2, "expected the data as a JSON object, got ''"),
        (("failed", "discard", "account", "--group", "x", "--reason", "x"), 1, "expected the group of some"),
        (("failed", "edit", "account", "ID"), 2, "expected the data as JSON: give it as an argument"),
        (("failed", "edit", "account", "ID", "-"), 2, "expected the data as a JSON object, got ''"),
        (("unregister", "account", "--discard", "--force"), 2, "Say --yes to discard them, or --keep"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
async def test_where_stdin_is_closed_nobody_is_asked(
    bus: Bus, shell: Shell, words: tuple[str, ...], code: int, said: str
) -> None:
    (event_id,) = await fail(bus, ORDER)
    assert said in await shell.refused('"$@" <&-', *(event_id if word == "ID" else word for word in words), code=code)


async def test_closed_streams_are_empty_ones(bus: Bus, shell: Shell) -> None:
    await fail(bus, ORDER)
    code, out, err = await shell('"$@" <&-', "failed", "import", "account", "-")
    assert (code, out) == (0, "0 imported, 0 refused\n"), err
    for line in ('"$@" >&-', '"$@" 2>&-', '"$@" <&- >&- 2>&-'):
        assert (await shell(line, "status"))[0] == 0
    assert await shell('"$@" 2>&-', "send", "NONSENSE", "{}", "--from", "order") == (2, "", "")
    assert await shell('"$@" 2> /dev/full', "send", "NONSENSE", "{}", "--from", "order") == (2, "", "")
