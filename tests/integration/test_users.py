"""Redis with users of its own: the rights that the guide names are enough for what each kind of process does."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService, OrderSuccess
from hippo_messenger.catalogue.model import EventData
from hippo_messenger.errors import DeadLetter, EventValidationError, RedisPermissionError
from hippo_messenger.job import HippoJob
from hippo_messenger.queues.connection import Connection
from hippo_messenger.settings import Settings
from hippo_messenger.testing import eventually
from tests.conftest import StartServer
from tests.contract.bus import Bus, Recorder
from tests.integration.commands import Operator

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "redis.md"
RULES = [line.split() for line in re.findall(r"^ACL SETUSER .+$", GUIDE.read_text(), re.MULTILINE)]
PASSWORD = "password"


def order(number: int) -> OrderSuccess:
    return OrderSuccess(order_id=f"A-{number}", total=Decimal(1))


def logged_in(url: str, name: str) -> str:
    there = urlsplit(url)
    return f"redis://{name}:{PASSWORD}@{there.hostname}:{there.port}/0"


async def server_with_users(start_server: StartServer) -> Bus:
    bus = Bus(start_server(), Settings(presence_interval=0.5, worker_stall_check=0.5, broker_stall_check=0.5))
    for rule in RULES:
        await bus.redis.execute_command(*rule)
    return bus


async def test_the_rights_in_the_guide_are_enough(
    start_server: StartServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bus = await server_with_users(start_server)
    shop = logged_in(bus.url, "shop")
    recorder = Recorder(raises=[DeadLetter("no"), ValueError("try again")])

    async def process(job: HippoJob[EventData]) -> object:
        await job.log("here")
        await job.update_progress(50)
        return await recorder(job)

    await bus.broker(url=logged_in(bus.url, "broker"))
    account = await bus.listener(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS, url=shop)
    await bus.worker(account, process)
    sender = bus.messenger(HippoService.ORDER, url=shop)
    await sender.send_many([order(1), order(2)])
    await sender.send(order(3), delay=0.05, priority=3, expires=3600)
    await account.send(order(4), notify_self=True)
    with pytest.raises(EventValidationError):
        await sender.send(event_type=HippoEvent.ORDER_SUCCESS, data={}, notify_self=True)
    await recorder.got(5)  # one of them twice
    await bus.settled("account", failed=1, completed=3)

    async def the_schedule_is_kept() -> None:
        assert await bus.redis.zcard(bus.queue("broker").scheduler) == 1

    await eventually(the_schedule_is_kept)
    denied = [record for record in caplog.messages if "permission" in record.lower() or "NOPERM" in record]
    assert denied == []

    bus.url = logged_in(bus.url, "operator")
    operator = Operator(bus, tmp_path)
    try:
        status = {entry["queue"]: entry for entry in await operator.json("status")}
        assert (status["account"]["failed"], status["account"]["workers"]) == (1, 1)
        for words in (
            ("services",),
            ("events",),
            ("pause", "account"),
            ("resume", "account"),
            ("limit", "account", "--rate", "100/s"),
            ("limit", "account", "--off"),
            ("failed", "list"),
            ("failed", "redrive", "account", "--all"),
            ("unregister", "account", "--discard", "--yes", "--force"),
        ):
            await operator.run(*words)
    finally:
        await operator.close()
        await bus.close()


async def test_what_a_user_lacks_is_named(start_server: StartServer) -> None:
    bus = await server_with_users(start_server)
    await bus.redis.execute_command("ACL", "SETUSER", "reader", "on", f">{PASSWORD}", "~{hippo}:*", "+@read")
    connection = Connection.of(logged_in(bus.url, "reader"), settings=bus.settings)
    try:
        with pytest.raises(RedisPermissionError, match=r"(?i)permission.*; grant it to this user"):
            await connection.execute("SET", "{hippo}:layout", 1)
    finally:
        await connection.close()
        await bus.close()
