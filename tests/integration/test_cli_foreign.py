"""What others have written into queues and registry is shown as it is: it ends no command and steers no terminal."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path

import pytest

from hippo_messenger.testing import eventually
from tests.contract.bus import Bus
from tests.integration.commands import Operator, said
from tests.integration.test_terminal import drawn

CLOSING, STYLED, STEERING = "X[/x]", "A[red]B", "C\x1b[2J\x9b2JD"
NAMES = [CLOSING, STYLED, STEERING]
STEERING_SHOWN = "C�[2J�2JD"


@pytest.fixture
async def hippo(bus: Bus, tmp_path: Path) -> AsyncIterator[Operator]:
    operator = Operator(bus, tmp_path)
    yield operator
    await operator.close()


async def registered(bus: Bus, service: str, listens_to: list[str]) -> None:
    """As a service in Node may have registered: names of event types can be any text."""
    wire = json.dumps({"serviceName": service, "listensTo": listens_to})
    await bus.redis.hset(bus.layout.registry, service, wire)
    await bus.redis.incr(bus.layout.registry_version)


async def happened(bus: Bus, event: str, *, name: str, data: object = None, **fields: str) -> None:
    """An entry in the broker's events stream, with the job that it is about."""
    base = bus.queue("broker").base
    job_id = f"job-{await bus.redis.incr(base + 'made')}"
    await bus.redis.hset(base + job_id, mapping={"name": name, "data": json.dumps(data)})
    entry: Mapping[str, str] = {"event": event, "jobId": job_id} | fields
    await bus.redis.xadd(base + "events", dict(entry))


async def trails_there_are(bus: Bus, count: int) -> None:
    waiting = [client for client in await bus.redis.client_list() if client["name"] == "hippo-trail"]
    assert [client["cmd"] for client in waiting] == ["xread"] * count


@pytest.mark.parametrize("words", [["services"], ["status"], ["events"], ["events", "ORDER_SUCCESS"]])
async def test_names_of_others_are_shown_as_they_are(bus: Bus, hippo: Operator, words: list[str]) -> None:
    """Guards against names that are taken for rich's markup: one service's ended the command for all."""
    await registered(bus, "parcels", [*NAMES, "ORDER_SUCCESS"])
    await bus.redis.hset(bus.layout.senders, f"ORDER_SUCCESS|{CLOSING}", round(time.time() * 1000))

    told = await hippo.run(*words)
    assert "\x1b" not in told
    options = ("--redis", bus.url, "--prefix", bus.settings.prefix)
    code, lines = await drawn(*words, *options, columns=200)
    assert code == 0, lines
    assert not any("\x9b" in line for line in lines)
    for text in (told, "\n".join(lines)):
        assert "parcels" in text or words == ["status"]
        if words == ["services"]:
            assert all(name in text for name in (CLOSING, STYLED, STEERING_SHOWN))
        if words[0] == "events":
            assert CLOSING in text


async def test_tail_shows_what_others_have_written_and_goes_on(bus: Bus, hippo: Operator) -> None:
    """Guards against a tail that ends at a registration that is none, or at a job's name that is markup."""
    options = ("--redis", bus.url, "--prefix", bus.settings.prefix)
    plain = await hippo.start("tail", "-n", "7")
    await said(plain, "following the broker")
    drawing = asyncio.create_task(drawn("tail", "-n", "7", *options, columns=200))
    await eventually(partial(trails_there_are, bus, 2))

    registration = {"serviceName": "parcels", "listensTo": 5}
    await happened(bus, "failed", name="hippo.register", data=registration, failedReason="listensTo: no list")
    await happened(bus, "completed", name="hippo.register", data=registration, returnvalue="{}")
    await happened(bus, "completed", name="E", returnvalue='{"deliveredTo":5,"parkedFor":7}')
    for name in NAMES:
        await happened(bus, "added", name=name, data={"source": name})
    await happened(bus, "failed", name="two\nlines", failedReason=f"{STEERING}\nand {CLOSING}")

    out, err = (stream.decode() for stream in await plain.communicate())
    assert plain.returncode == 0, err
    code, lines = await drawing
    assert code == 0, lines
    assert len(out.splitlines()) == 7
    for text in (out, "\n".join(lines)):
        assert "\x1b" not in text
        assert "\x9b" not in text
        assert all(text.count(name) >= 2 for name in (CLOSING, STYLED, STEERING_SHOWN))
        assert "listensTo: no list" in text
        assert "two lines" in text
        assert f"{STEERING_SHOWN} and {CLOSING}" in text


async def test_tail_takes_an_entry_whose_id_is_no_time(bus: Bus, hippo: Operator) -> None:
    tail = await hippo.start("tail", "-n", "1")
    await said(tail, "following the broker")
    await bus.redis.xadd(bus.queue("broker").base + "events", {"event": "added", "jobId": "1"}, id=f"{2**63}-1")
    out, err = await tail.communicate()
    assert tail.returncode == 0, err
    assert b"sent" in out


async def test_what_is_wrong_with_a_dead_letter_steers_no_terminal(bus: Bus, hippo: Operator) -> None:
    account = bus.queue("account")
    envelope = {
        "specversion": "1.0",
        "id": "a-letter-of-somebody-else",
        "source": "order",
        "type": STEERING,
        "data": {},
    }
    words = {"name": STEERING, "data": json.dumps(envelope), "opts": "{}", "timestamp": "1", "failedReason": "x"}
    await bus.redis.hset(account.base + "letter", mapping=words)
    await bus.redis.zadd(account.base + "failed", {"letter": 1})
    told = await hippo.run("failed", "redrive", "account", "--all", "--only-valid", "--dry-run")
    assert "1 × UnknownEventTypeError" in told
    assert "\x1b" not in told
