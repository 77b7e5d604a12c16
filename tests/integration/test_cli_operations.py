"""What an operator does with `hippo`: look, follow, pause, resume, unregister, cancel; each run as a process."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest

from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService, OrderSuccess
from hippo_messenger.retry import RetryPolicy
from hippo_messenger.testing import eventually
from tests.contract.bus import Bus, Recorder
from tests.integration.commands import Operator

ORDER = OrderSuccess(order_id="A-1", total=Decimal("12.30"))
UNKNOWN_ID = "0198c0de-0000-7000-8000-000000000000"


@pytest.fixture
async def hippo(bus: Bus, tmp_path: Path) -> AsyncIterator[Operator]:
    operator = Operator(bus, tmp_path)
    yield operator
    await operator.close()


async def test_status_counts_what_is_there(bus: Bus, hippo: Operator) -> None:
    await bus.broker()
    shipping = await bus.listener(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS)
    await bus.listener(HippoService.NOTIFICATION, HippoEvent.ORDER_SUCCESS)
    await bus.worker(shipping, Recorder())
    order = bus.messenger(HippoService.ORDER)
    await order.send_many([ORDER] * 5)
    await order.send(ORDER, delay=3600)
    await bus.settled("shipping", completed=5)
    await bus.settled("notification", wait=5)

    found = {row["queue"]: row for row in await hippo.json("status")}

    assert list(found) == ["broker", "notification", "shipping"]
    assert found["shipping"]["completed"] == 5
    assert found["shipping"]["workers"] == 1
    assert found["shipping"]["completed_per_minute"] > 0
    assert found["shipping"]["oldest"] is None
    assert found["notification"]["waiting"] == 5
    assert found["notification"]["workers"] == 0
    assert found["notification"]["oldest"] >= 0
    assert found["notification"]["listens_to"] == ["ORDER_SUCCESS"]
    assert found["broker"]["delayed"] == 3  # the event, and the repeat jobs of two registrations
    assert found["broker"]["workers"] == 1
    lines = (await hippo.run("status")).splitlines()
    assert lines[0].split() == ["queue", "waiting", "oldest", "active", "delayed", "failed", "done/min", "workers"]
    assert [line.split()[0] for line in lines[1:]] == ["broker", "notification", "shipping"]


async def test_status_tells_dead_letters_from_the_records_of_rejected_events(bus: Bus, hippo: Operator) -> None:
    await bus.broker()
    shipping = await bus.listener(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS, retry=RetryPolicy(attempts=1))
    await bus.worker(shipping, Recorder(raises=[RuntimeError("the carrier is closed")]))
    await bus.messenger(HippoService.ORDER).send(ORDER)
    await bus.settled("shipping", failed=1)
    for sender in (shipping, bus.messenger(HippoService.ORDER)):
        with pytest.raises(ValueError, match="required"):
            await sender.send(event_type=HippoEvent.ORDER_SUCCESS, data={}, notify_self=True)

    found = {row["queue"]: (row["failed"], row["rejected"]) for row in await hippo.json("status")}

    # The queue of order, which isn't registered, holds a record and no work.
    assert found == {"broker": (0, 2), "shipping": (1, 1)}
    (_, broker, shipping_line) = (await hippo.run("status")).splitlines()
    assert re.match(r"broker 2 rejected +0 +– +0 +1 +0 ", broker)
    assert re.match(r"shipping 1 rejected +0 +– +0 +0 +1 ", shipping_line)
    assert [row["failed"] for row in await hippo.json("services")] == [0, 1]


async def test_status_shows_a_service_whose_processor_fails_everything(bus: Bus, hippo: Operator) -> None:
    await bus.broker()
    shipping = await bus.listener(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS)
    await bus.worker(shipping, Recorder(raises=[ConnectionError("no database")] * 1000))
    await shipping.send_many([ORDER] * 50, notify_self=True)

    async def noted() -> None:
        assert await bus.redis.zcard(bus.layout.open_breakers("shipping")) == 1

    await eventually(noted)
    assert {row["queue"]: row["slowed"] for row in await hippo.json("status")} == {"broker": 0, "shipping": 1}
    [line] = [line for line in (await hippo.run("status")).splitlines() if line.startswith("shipping")]
    assert line.startswith("shipping 1 slowed")


async def test_status_goes_on_until_it_is_stopped_with_one_line_of_json_a_look(bus: Bus, hippo: Operator) -> None:
    watching = await hippo.start("status", "--watch", "0.2", "--json")
    assert watching.stdout is not None
    async with asyncio.timeout(30):
        for _ in range(3):
            [broker] = json.loads(await watching.stdout.readline())
            assert broker["queue"] == "broker"
    watching.send_signal(signal.SIGINT)
    assert await watching.wait() == 130


async def test_status_shows_a_pipe_each_table_when_it_is_made(hippo: Operator) -> None:
    watching = await hippo.start("status", "--watch", "0.2")
    assert watching.stdout is not None
    async with asyncio.timeout(30):
        lines = [await watching.stdout.readline() for _ in range(4)]
    assert [line.split()[0] for line in lines] == [b"queue", b"broker"] * 2


async def test_a_pipe_gets_whole_lines_however_narrow_the_terminal(bus: Bus, hippo: Operator) -> None:
    await bus.broker()
    await bus.listener(HippoService.SHIPPING, *list(HippoEvent)[:12])
    process = await hippo.start("services", COLUMNS="40")
    out, _ = await process.communicate()
    (line,) = [line for line in out.decode().splitlines() if line.startswith("shipping")]
    assert ", ".join(sorted(event.value for event in list(HippoEvent)[:12])) in line
    assert "─" not in out.decode()


async def test_events_says_who_sends_and_who_listens(bus: Bus, hippo: Operator) -> None:
    await bus.broker()
    await bus.listener(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS)
    await bus.messenger(HippoService.ORDER).send(ORDER)
    await bus.messenger(HippoService.BILLING).send(ORDER)

    async def noted() -> None:
        (entry,) = await hippo.json("events", "order_success")
        assert sorted(entry["sent_by"]) == ["billing", "order"]
        assert entry["listened_to_by"] == ["shipping"]

    await eventually(noted, timeout=20)
    everything = await hippo.json("events")
    assert [entry["event"] for entry in everything] == [event.value for event in HippoEvent]
    fields = {field["name"]: field for field in everything[-1]["fields"]}
    assert fields
    (entry,) = await hippo.json("events", "ORDER_SUCCESS")
    fields = {field["name"]: field for field in entry["fields"]}
    assert fields["orderId"] == {"name": "orderId", "type": "string", "required": True, "meaning": ""}
    assert fields["items"]["type"] == "list of LineItem"
    shown = await hippo.run("events")
    assert "Deprecated: " in shown
    assert "billing, order" in shown


async def test_events_shows_the_catalogue_without_redis(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hippo_messenger", "events", env={"PATH": os.environ["PATH"]}, stdout=PIPE, stderr=PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0
    assert b"ORDER_SUCCESS" in out
    assert b"no Redis connection is named" in err


async def test_a_paused_service_gets_its_jobs_and_works_on_them_once_resumed(bus: Bus, hippo: Operator) -> None:
    await bus.broker()
    shipping = await bus.listener(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS)
    await bus.worker(shipping, Recorder())

    assert "shipping is paused" in await hippo.run("pause", "SHIPPING")
    assert "was paused already" in await hippo.run("pause", "shipping")
    await bus.messenger(HippoService.ORDER).send_many([ORDER] * 3)
    await bus.settled("shipping", wait=3)
    assert "shipping paused" in await hippo.run("status")

    assert "shipping goes on" in await hippo.run("resume", "shipping")
    await bus.settled("shipping", completed=3)
    assert "was not paused" in await hippo.run("resume", "shipping")


@pytest.mark.parametrize(
    "words",
    [
        ("pause", "shiping"),
        ("resume", "shiping"),
        ("limit", "shiping"),
        ("unregister", "shiping"),
        ("tail", "shiping"),
        ("failed", "list", "shiping"),
    ],
    ids=" ".join,
)
async def test_every_command_says_the_same_of_a_service_that_nobody_knows(
    hippo: Operator, words: tuple[str, ...]
) -> None:
    expected = "expected a service of the catalogue or the registry, got 'shiping'; did you mean shipping?"
    assert await hippo.run(*words, code=2) == f"hippo: {expected}\n"


async def test_a_service_that_only_the_registry_knows_can_be_named(bus: Bus, hippo: Operator) -> None:
    await bus.redis.hset(bus.layout.registry, "parcels", '{"serviceName":"parcels","listensTo":[]}')
    assert "parcels is paused" in await hippo.run("pause", "Parcels")


async def test_the_broker_can_be_paused_too(bus: Bus, hippo: Operator) -> None:
    await bus.broker()
    await bus.listener(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS)
    await hippo.run("pause", "broker")
    await bus.messenger(HippoService.ORDER).send(ORDER)
    await bus.settled("broker", wait=1, completed=1)  # the registration, and the event that waits
    await hippo.run("resume", "broker")
    await bus.settled("shipping", wait=1)


async def test_an_unregistered_service_gets_no_new_events_and_keeps_its_jobs(bus: Bus, hippo: Operator) -> None:
    await bus.broker()
    shipping = await bus.listener(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS)
    order = bus.messenger(HippoService.ORDER)
    await order.send(ORDER)
    await bus.settled("shipping", wait=1)

    assert re.search(r"was heard of \d+ s ago", await hippo.run("unregister", "shipping", code=2))
    await shipping.close()
    said = await hippo.run("unregister", "shipping", "--force")

    assert "shipping gets no more events; 1 jobs in its queue stay" in said
    assert [row["queue"] for row in await hippo.json("services")] == ["broker"]
    assert await bus.redis.zcard(f"{bus.layout.broker.scheduler}") == 0
    assert await bus.count("shipping", "wait") == 1
    await bus.listener(HippoService.BILLING)
    await order.send(ORDER)
    await bus.settled("broker", completed=4)
    assert await bus.count("shipping", "wait") == 1
    assert "did you mean billing" in await hippo.run("unregister", "biling", code=2)


async def test_a_queue_with_jobs_is_shown_though_its_service_is_not_registered(bus: Bus, hippo: Operator) -> None:
    await bus.broker()
    await bus.listener(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS)
    await bus.messenger(HippoService.ORDER).send(ORDER, notify_self=True)
    await bus.settled("order", wait=1)

    found = {row["queue"]: row for row in await hippo.json("status")}

    assert list(found) == ["broker", "order", "shipping"]
    assert (found["order"]["waiting"], found["order"]["listens_to"]) == (1, [])


async def test_a_registration_from_before_does_not_undo_it(bus: Bus, hippo: Operator) -> None:
    shipping = bus.messenger(HippoService.SHIPPING, [HippoEvent.ORDER_SUCCESS])
    broker = await bus.broker()
    await shipping.register(wait=True)
    await broker.stop()
    await shipping.register()  # it waits for a broker
    await shipping.close()
    await hippo.run("unregister", "shipping", "--force")
    await bus.broker()
    await bus.settled("broker", completed=2)
    assert [row["queue"] for row in await hippo.json("services")] == ["broker"]


async def test_a_delayed_event_can_be_cancelled_with_its_own_copy_and_sent_again(bus: Bus, hippo: Operator) -> None:
    await bus.broker()
    await bus.listener(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS)
    order = bus.messenger(HippoService.ORDER, [HippoEvent.ORDER_SUCCESS])
    event_id = await order.send(ORDER, delay=3600, notify_self=True)
    assert await bus.count("order", "delayed") == 1

    assert f"{event_id} is cancelled" in await hippo.run("cancel", event_id)

    assert await bus.count("broker", "delayed") == 0
    assert await bus.count("order", "delayed") == 0
    assert await bus.job("broker", event_id) == {}
    assert "no delayed event" in await hippo.run("cancel", event_id, code=1)
    await order.send(ORDER, event_id=event_id, notify_self=True)
    await bus.settled("order", wait=1)
    await bus.settled("shipping", wait=1)


@pytest.mark.parametrize(
    ("event_id", "code", "words"),
    [(UNKNOWN_ID, 1, "no delayed event"), ("meta", 2, "id"), ("../../etc/passwd", 2, "id")],
)
async def test_what_can_not_be_cancelled(hippo: Operator, event_id: str, code: int, words: str) -> None:
    assert words in await hippo.run("cancel", event_id, code=code)


async def test_an_event_that_is_routed_can_not_be_cancelled(bus: Bus, hippo: Operator) -> None:
    await bus.broker()
    await bus.listener(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS)
    event_id = await bus.messenger(HippoService.ORDER).send(ORDER)
    await bus.settled("shipping", wait=1)
    assert "routed already" in await hippo.run("cancel", event_id, code=1)
    assert await bus.count("shipping", "wait") == 1


async def test_a_worker_takes_redis_and_prefix_from_its_options(bus: Bus, hippo: Operator, tmp_path: Path) -> None:
    (tmp_path / "shipping.py").write_text(
        "from hippo_messenger import HippoEvent, HippoMessenger, HippoService, HippoWorker\n"
        "messenger = HippoMessenger(service_name=HippoService.SHIPPING, listens_to=[HippoEvent.ORDER_SUCCESS])\n"
        "worker = HippoWorker(messenger=messenger, processor=lambda job: 'shipped')\n"
    )
    await bus.broker()
    await hippo.start(
        "worker",
        "shipping:worker",
        "--redis",
        bus.url,
        "--prefix",
        bus.settings.prefix,
        HIPPO_REDIS_URL="redis://no-such-host.invalid",
        HIPPO_PREFIX="{elsewhere}",
    )

    async def registered() -> None:
        assert await bus.redis.hexists(bus.layout.registry, "shipping")

    await eventually(registered, timeout=30)
    await bus.messenger(HippoService.ORDER).send(ORDER)
    await bus.settled("shipping", completed=1)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("hippo s", {"send", "services", "status"}),
        ("hippo send ORDER_SU", {"ORDER_SUCCESS"}),
        ("hippo send ORDER_SUCCESS {} --from sh", {"shipping"}),
        ("hippo pause not", {"notification"}),
        ("hippo events config", {"config_change"}),
        ("hippo resume NOT", {"NOTIFICATION"}),
        ("hippo services --js", {"--json"}),
    ],
)
async def test_the_shell_completes_commands_events_and_services(
    hippo: Operator, typed: str, expected: set[str]
) -> None:
    words = typed.split()
    process = await hippo.start(
        _HIPPO_COMPLETE="complete_bash", COMP_WORDS=typed, COMP_CWORD=str(len(words) - 1), _TYPER_COMPLETE_ARGS=typed
    )
    out, err = await process.communicate()
    assert set(out.decode().split()) == expected, err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_the_completion_of_a_shell_can_be_shown(hippo: Operator, shell: str) -> None:
    process = await hippo.start("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    out, err = await process.communicate()
    assert process.returncode == 0, err
    assert b"_HIPPO_COMPLETE" in out
