"""The command `hippo`, as a user runs it: exit codes, one-line errors, clean ends."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService
from hippo_messenger.messenger import HippoMessenger
from hippo_messenger.settings import Settings
from tests.conftest import free_port
from tests.integration.commands import HIDDEN

SECRET = "a-very-secret-password"
COMMANDS = (
    "broker",
    "cancel",
    "demo",
    "dev",
    "events",
    "pause",
    "resume",
    "send",
    "services",
    "status",
    "tail",
    "unregister",
    "worker",
)
ORDER = '{"orderId":"A-1","total":"12.30"}'


@dataclass
class Hippo:
    """Runs the command with one server and one prefix."""

    url: str
    prefix: str
    directory: Path
    running: list[Process] = field(default_factory=list)

    async def start(self, *words: str, url: str | None = None) -> Process:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(HIDDEN)}
        environment |= {"HIPPO_REDIS_URL": url or self.url, "HIPPO_PREFIX": self.prefix, "COLUMNS": "120"}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "hippo_messenger",
            *words,
            env=environment,
            cwd=self.directory,
            stdout=PIPE,
            stderr=PIPE,
        )
        self.running.append(process)
        return process

    async def __call__(self, *words: str, url: str | None = None) -> tuple[int, str, str]:
        """Exit code, stdout and stderr."""
        process = await self.start(*words, url=url)
        out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    async def refused(self, *words: str, code: int, url: str | None = None) -> str:
        """What is said when it is refused: one line, no traceback, no password."""
        got, out, err = await self(*words, url=url)
        assert got == code, err
        assert out == ""
        assert err.count("\n") == 1
        assert err.startswith("hippo: ")
        assert "Traceback" not in err
        assert SECRET not in err
        return err


@pytest.fixture
async def hippo(redis_server: str, prefix: str, tmp_path: Path) -> AsyncIterator[Hippo]:
    hippo = Hippo(redis_server, prefix, tmp_path)
    yield hippo
    for process in hippo.running:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def said(process: Process, words: str) -> None:
    """Wait until it says this on stderr."""
    assert process.stderr is not None
    async with asyncio.timeout(20):
        while words not in (line := (await process.stderr.readline()).decode()):
            assert line, f"it ended without saying {words!r}"


async def test_an_event_goes_from_a_command_to_a_worker(hippo: Hippo) -> None:
    (hippo.directory / "shipping_worker.py").write_text(
        "from hippo_messenger import HippoEvent, HippoMessenger, HippoService, HippoWorker, OrderSuccess\n"
        "messenger = HippoMessenger(service_name=HippoService.SHIPPING, listens_to=[HippoEvent.ORDER_SUCCESS])\n"
        "worker = HippoWorker(messenger=messenger)\n"
        "@worker.on(OrderSuccess)\n"
        "def ship(job): print('shipped', job.data.order_id, 'of', job.origin, flush=True)\n"
    )
    broker = await hippo.start("broker")
    await said(broker, "message broker: routing")
    worker = await hippo.start("worker", "shipping_worker:worker")
    await said(broker, "shipping listens to ORDER_SUCCESS")

    code, out, err = await hippo("send", "order_success", ORDER, "--from", "ORDER")

    assert (code, err) == (0, "")
    assert re.fullmatch(r"[0-9a-f-]{36}\n", out)
    assert worker.stdout is not None
    assert await worker.stdout.readline() == b"shipped A-1 of order\n"
    code, out, _ = await hippo("services")
    assert code == 0
    assert re.search(r"shipping +ORDER_SUCCESS +\d+ s ago +1 +0 +0", out)
    _, out, _ = await hippo("services", "--catalogue", "hippo_messenger.catalogue.golden_hippo:CATALOGUE")
    assert re.search(r"^not registered: account, .*\border\b", out, re.MULTILINE)
    assert "not in the catalogue" not in out
    for process in (worker, broker):
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
async def test_a_broker_ends_cleanly(hippo: Hippo, signal_number: signal.Signals) -> None:
    broker = await hippo.start("broker")
    await said(broker, "message broker: routing")
    broker.send_signal(signal_number)
    assert await broker.wait() == 0


async def test_dev_says_how_to_connect(hippo: Hippo) -> None:
    (hippo.directory / "pyproject.toml").touch()
    dev = await hippo.start("dev")
    await said(dev, "message broker: routing")
    assert dev.stdout is not None
    shown = (await dev.stdout.read(2000)).decode()
    url = re.search(r"export HIPPO_REDIS_URL=(unix://\S+)", shown)
    assert f"hippo services --redis embedded --prefix '{hippo.prefix}'" in shown
    assert url is not None
    settings = Settings(prefix=hippo.prefix)
    async with HippoMessenger(
        service_name=HippoService.ORDER,
        listens_to=[HippoEvent.CONFIG_CHANGE],
        redis_connection=url[1],
        settings=settings,
    ) as messenger:
        await messenger.register(wait=True)
        dev.send_signal(signal.SIGINT)
        assert await dev.wait() == 0


async def test_dev_works_beside_a_redis_that_runs_already_and_starts_none(hippo: Hippo) -> None:
    (hippo.directory / "pyproject.toml").touch()
    dev = await hippo.start("dev", "--redis", hippo.url)
    await said(dev, "message broker: routing")
    assert dev.stdout is not None
    shown = (await dev.stdout.read(2000)).decode()
    assert "A broker beside the Redis at redis://" in shown
    assert "no server is started" in shown
    assert f"export HIPPO_REDIS_URL=URL HIPPO_PREFIX='{hippo.prefix}'" in shown
    assert f"hippo services --redis URL --prefix '{hippo.prefix}'" in shown
    assert not (hippo.directory / ".hippo").exists()
    settings = Settings(prefix=hippo.prefix)
    async with HippoMessenger(
        service_name=HippoService.ORDER, redis_connection=hippo.url, settings=settings
    ) as messenger:
        await messenger.register(wait=True)
    dev.send_signal(signal.SIGINT)
    assert await dev.wait() == 0


async def test_dev_tells_a_script_where_it_is(hippo: Hippo) -> None:
    dev = await hippo.start("dev", "--redis", hippo.url, "--json")
    assert dev.stdout is not None
    async with asyncio.timeout(20):
        out = await dev.stdout.readuntil(b"}\n")  # while it runs: a script reads the place, and goes on from there
    place = json.loads(out)
    await said(dev, "message broker: routing")
    dev.send_signal(signal.SIGTERM)
    assert await dev.wait() == 0
    assert place["redis"].startswith("redis://")
    assert (place["prefix"], place["embedded"]) == (hippo.prefix, False)


async def test_dev_shows_no_password(hippo: Hippo) -> None:
    url = f"redis://user:{SECRET}@127.0.0.1:{free_port()}"
    assert "is it running" in await hippo.refused("dev", "--redis", url, code=1)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (
            ("send", "ORDER_SUCESS", "{}", "--from", "order"),
            2,
            "expected an event type of the catalogue, got 'ORDER_SUCESS'; did you mean ORDER_SUCCESS",
        ),
        (
            ("send", "ORDER_SUCCESS", ORDER, "--from", "orders"),
            2,
            "of the catalogue, got 'orders'; did you mean ORDER?",
        ),
        (("send", "ORDER_SUCCESS", ORDER, "--from", "9" * 500), 2, "9…'; known: ACCOUNT, BILLING,"),
        (("send", "ORDER_SUCCESS", "{}", "--from", "order"), 2, "orderId: required; total: required"),
        (("send", "ORDER_SUCCESS", "{", "--from", "order"), 2, "expected the data as a JSON object, got '{'"),
        (("send", "ORDER_SUCCESS", "[]", "--from", "order"), 2, "expected the data as a JSON object, got '[]'"),
        (("send", "ORDER_SUCCESS", ORDER, "--from", "order", "--id", "x"), 2, "id"),
        (("send", "ORDER_SUCCESS", ORDER, "--from", "order", "--delay", "-1"), 2, "expected a delay from 0"),
        (("send", "ORDER_SUCCESS", ORDER, "--from", "order", "--expires", "soon"), 2, "expected --expires in seconds"),
        (("send", "ORDER_SUCCESS", ORDER, "--from", "order", "--expires", "2026-01-02T03:04:05"), 2, "with a zone"),
        (("send", "ORDER_SUCCESS", ORDER), 2, "Missing option '--from'"),
        (("sned",), 2, "Did you mean 'send'"),
        (("broker", "--redis", "localhost"), 2, "expected a Redis URL"),
        (("broker", "--catalogue", "nothing:here"), 2, "can't be loaded: No module named 'nothing'"),
        (("worker", "nothing:here"), 2, "there is no module 'nothing'"),
        (("worker", "nothing"), 2, 'expected a worker as "module:worker"'),
        (
            ("worker", "./shop/work.py:worker"),
            2,
            "as in an import, got './shop/work.py:worker'; write shop.work:worker",
        ),
        (("broker", "--catalogue", "./events.py:CATALOGUE"), 2, "got './events.py:CATALOGUE'; write events:CATALOGUE"),
        (("worker", "hippo_messenger:HippoWorkr"), 2, "did you mean HippoWorker?"),
        (("worker", "hippo_messenger:HippoEvent"), 2, "expected a HippoWorker"),
        (("status", "--prefix", "a:b"), 2, "expected a prefix without spaces and colons, such as {hippo}, got 'a:b'"),
        (("demo", "--catalogue", "nothing:here"), 2, "can't be loaded: No module named 'nothing'"),
        (("dev", "--redis", "localhost"), 2, "expected a Redis URL"),
        (("demo", "--input", "none.ndjson"), 2, "expected a file of events at none.ndjson"),
        (("demo", "--events", "0"), 2, "--events"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
async def test_a_mistake_is_one_line_with_the_remedy(
    hippo: Hippo, words: tuple[str, ...], code: int, message: str
) -> None:
    assert message in await hippo.refused(*words, code=code)


async def test_a_package_that_a_workers_module_lacks_is_named(hippo: Hippo) -> None:
    """Guards against blaming the module itself, because its name begins like that of what it imports."""
    (hippo.directory / "stripe_worker.py").write_text("import stripe\n")
    said = await hippo.refused("worker", "stripe_worker:worker", code=2)
    assert "stripe_worker can't be loaded: No module named 'stripe'" in said


@pytest.mark.parametrize(
    "command",
    [
        ("broker",),
        ("cancel", "0198c0de-0000-7000-8000-000000000000"),
        ("events",),
        ("pause", "shipping"),
        ("resume", "shipping"),
        ("send", "ORDER_SUCCESS", ORDER, "--from", "order"),
        ("services",),
        ("status",),
        ("tail",),
        ("unregister", "shipping"),
    ],
    ids=lambda command: command[0],
)
async def test_without_redis_every_command_says_so_and_shows_no_password(
    hippo: Hippo, command: tuple[str, ...]
) -> None:
    url = f"redis://user:{SECRET}@127.0.0.1:{free_port()}"
    assert "is it running" in await hippo.refused(*command, code=1, url=url)


@pytest.mark.parametrize("character", ["/", "#", "?", "[", "\N{FULLWIDTH COLON}"])
@pytest.mark.parametrize("scheme", ["redis", "redis+sentinel", "redis+cluster"])
async def test_of_a_url_that_cannot_be_read_no_command_shows_a_part_of_the_password(
    hippo: Hippo, scheme: str, character: str
) -> None:
    """Guards against the error of a URL parser, with its traceback or with what it quotes."""
    url = f"{scheme}://user:{SECRET}{character}{SECRET}@127.0.0.1:1/0"
    assert "percent-encoded" in await hippo.refused("status", code=2, url=url)


async def test_without_an_address_the_ways_to_give_one_are_named() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hippo_messenger", "services", env={"PATH": os.environ["PATH"]}, stderr=PIPE
    )
    _, err = await process.communicate()
    assert process.returncode == 2
    assert b"no Redis connection is named" in err
    assert b"embedded" in err


async def test_debug_shows_the_traceback(hippo: Hippo) -> None:
    code, _, err = await hippo("send", "NONSENSE", "{}", "--from", "order", "--debug")
    assert code == 1
    assert "Traceback" in err


async def test_help_and_version(hippo: Hippo) -> None:
    assert (await hippo("--version"))[1].startswith("hippo 0.")
    code, out, _ = await hippo("--help")
    assert code == 0
    for command in COMMANDS:
        assert re.search(rf"\b{command}\b", out)
    assert (await hippo())[0] == 2
