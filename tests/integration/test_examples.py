"""Every example runs, as its reader would run it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import pytest
import redis.asyncio

from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService, LineItem, OrderCancelled, OrderSuccess
from hippo_messenger.catalogue.model import EventData
from hippo_messenger.settings import Settings
from tests.conftest import StartServer
from tests.contract.bus import Bus
from tests.integration.test_embedded import end

EXAMPLES = Path(__file__).parents[2] / "examples"
README = EXAMPLES.parent / "README.md"
PROGRAMS = {
    "adding_event_types.py": [
        "old: HIP-001 is sold, and {'till': 7}",
        "new: HIP-001 is back",
        "EXCHANGED is deprecated: it said two things at once; send ShopEvent.RETURNED instead",
    ],
    "canary.py": [
        "{'the old version has processed ORDER_SUCCESS'}",
        "the canary has sent an event",
        "the new version has processed ORDER_SUCCESS",
    ],
    "delayed_and_priority.py": ["no priority\nfor a minute\npriority 1\npriority 10\nlater\n"],
    "first_event.py": ["shipping A-1 for 12.30, said order"],
    "idempotent_processor.py": ["called 2 times, 1 invoice"],
    "notify_self.py": ["order A-2: 5", "vat = 7"],
    "own_catalogue.py": ["Deprecated: send SOLD.", '"receiptId":"R-1"', "receiptId: required", "got ***"],
    "retries.py": ["flaky: attempt 3", "broken: attempt 3", "completed: 2\nfailed: 2\nretry: 4\n"],
    "send_errors.py": [
        "orderId: required",
        "total: Input should be a valid decimal",
        "expected an event of at most 1,048,576 bytes",
        "NotSentError for order-A-1-success\nFalse\n",
        "2 events are still to be sent",
    ],
    "sending_events.py": [
        "an event id has 36 characters",
        "A-1 for 12.30, unknown to us: {}",
        "A-2 for 5, unknown to us: {'giftWrap': True}",
        "A-4 is cancelled\nA-5 is cancelled\nsix were sent, one of them twice under one id; more came: False",
    ],
    "services.py": [
        "account hears ORDER_SUCCESS from order\naccount hears ORDER_CANCELLED from order\nnothing more: True"
    ],
    "slow_processors.py": ["ORDER_SUCCESS: failed\nORDER_CANCELLED: failed\n"],
}
WITH_TESTS_OF_THEIR_OWN = {"shop_worker.py", "testing_a_service.py", "testing_with_the_kit.py"}


def test_no_example_is_left_out() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == PROGRAMS.keys() | WITH_TESTS_OF_THEIR_OWN


@pytest.mark.parametrize("name", PROGRAMS)
async def test_an_example_runs(name: str, tmp_path: Path, server_binary: str) -> None:
    (tmp_path / "pyproject.toml").touch()
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", str(EXAMPLES / name), cwd=tmp_path, stdout=PIPE, stderr=PIPE
    )
    try:
        async with asyncio.timeout(30):
            out, err = await program.communicate()
    finally:
        if (tmp_path / ".hippo").exists():
            await end(tmp_path)
    assert program.returncode == 0, err.decode()
    for line in PROGRAMS[name]:
        assert line in out.decode()
    assert "Traceback" not in err.decode()


@pytest.mark.parametrize("shared", [False, True], ids=["on a server of its own", "on a shared Redis"])
@pytest.mark.parametrize(
    ("name", "variable", "tests"),
    [("testing_a_service.py", "TEST_REDIS_URL", 3), ("testing_with_the_kit.py", "HIPPO_TEST_REDIS_URL", 4)],
)
async def test_the_tests_of_a_service_pass_and_leave_nothing_behind(
    name: str, variable: str, tests: int, *, shared: bool, start_server: StartServer
) -> None:
    url = start_server()
    environment = os.environ | ({variable: url} if shared else {})
    run = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(EXAMPLES / name)),
        cwd=EXAMPLES.parent,
        env=environment,
        stdout=PIPE,
    )
    async with asyncio.timeout(60):
        out, _ = await run.communicate()
    assert run.returncode == 0, out.decode()
    assert f"{tests} passed" in out.decode()
    async with redis.asyncio.Redis.from_url(url) as client:
        assert await client.dbsize() == 0
        used = (await client.info("stats"))["total_commands_processed"] > 100
    assert used == shared


async def shop_worker(bus: Bus) -> Process:
    """A broker, and the worker of the shop in a process of its own; its service is registered."""
    await bus.broker()
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hippo_messenger", "worker", "examples.shop_worker:make_worker"),
        env=os.environ | {"HIPPO_REDIS_URL": bus.url, "HIPPO_PREFIX": bus.settings.prefix},
        cwd=EXAMPLES.parent,
        stderr=PIPE,
    )
    assert worker.stderr is not None
    async with asyncio.timeout(30):
        while b"worker of shipping" not in await worker.stderr.readline():
            pass
        await bus.listener(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS, HippoEvent.ORDER_CANCELLED)
    return worker


async def test_the_worker_of_the_shop_works(redis_server: str, prefix: str) -> None:
    bus = Bus(redis_server, Settings(prefix=prefix))
    worker = await shop_worker(bus)
    assert worker.stderr is not None
    order = bus.messenger(HippoService.ORDER)

    address = {"line1": "1 Main St", "city": "Portland", "country": "US"}
    events: list[EventData] = [
        OrderSuccess.model_validate({"orderId": "A", "total": "1"}),
        OrderSuccess.model_validate({"orderId": "B", "total": "1", "shippingAddress": address}),
        OrderSuccess.model_validate(
            {"orderId": "C", "total": "1", "shippingAddress": address, "items": [LineItem(sku="S")]}
        ),
        OrderCancelled(order_id="B"),
    ]
    ids = await order.send_many(events)
    await bus.settled("shipping", failed=1, completed=3)
    assert (await bus.job("shipping", ids[0]))["failedReason"] == "no address: no retry will find one"
    assert (await bus.job("shipping", ids[1]))["returnvalue"] == {"discarded": "nothing to ship"}
    assert (await bus.job("shipping", ids[2]))["returnvalue"] == {"parcel": "P-C"}

    worker.send_signal(signal.SIGTERM)
    assert await worker.wait() == 0
    assert "B is not to be shipped, says order" in (await worker.stderr.read()).decode()
    await bus.close()


async def test_the_first_session_of_the_readme_holds(redis_server: str, prefix: str, tmp_path: Path) -> None:
    bus = Bus(redis_server, Settings(prefix=prefix))
    worker = await shop_worker(bus)
    hippo = tmp_path / "hippo"
    hippo.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m hippo_messenger "$@"\n')
    hippo.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HIPPO_PREFIX": prefix}
    sessions = re.findall(r"^```sh\n(.*?)^```$", README.read_text(), flags=re.DOTALL | re.MULTILINE)
    complete, failing = [session for session in sessions if "hippo send" in session]

    async def typed(session: str) -> str:
        shell = await asyncio.create_subprocess_exec(
            *("sh", "-e", "-c", session.replace("HIPPO_REDIS_URL=…", f"HIPPO_REDIS_URL={redis_server}")),
            env=environment | {"HIPPO_REDIS_URL": redis_server},
            cwd=EXAMPLES.parent,
            stdout=PIPE,
            stderr=PIPE,
        )
        out, err = await shell.communicate()
        assert shell.returncode == 0, err.decode()
        return out.decode()

    event_id = (await typed(complete)).splitlines()[0]
    await bus.settled("shipping", completed=1)
    assert (await bus.job("shipping", event_id))["returnvalue"] == {"parcel": "P-A-1"}
    await typed(failing)
    await bus.settled("shipping", completed=1, failed=1)
    assert "DeadLetter examples/shop_worker.py:ship" in await typed("hippo failed list")

    worker.send_signal(signal.SIGTERM)
    assert await worker.wait() == 0
    await bus.close()
