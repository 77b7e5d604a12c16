"""`hippo demo`: it runs, it accounts, and it can say that something is wrong."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import pytest
from redis.asyncio import Redis

from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService
from hippo_messenger.settings import Settings
from hippo_messenger.testing import eventually
from tests.contract.bus import Bus

LINE = {"from": "order", "type": "ORDER_SUCCESS", "data": {"orderId": "A-1", "total": "1"}}


async def demo(*words: str, directory: Path) -> Process:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    environment |= {"COLUMNS": "100", "TMPDIR": str(directory)}
    command = (sys.executable, "-m", "hippo_messenger", "demo", *words)
    return await asyncio.create_subprocess_exec(*command, env=environment, cwd=directory, stdout=PIPE, stderr=PIPE)


async def ended(process: Process) -> tuple[int | None, str]:
    out, err = await process.communicate()
    return process.returncode, " ".join((out + err).decode().split())


async def test_every_event_of_the_shipped_feed_is_accounted_for(tmp_path: Path) -> None:
    code, shown = await ended(await demo("--events", "400", directory=tmp_path))
    assert code == 0, shown
    assert "✓ Every event is accounted for: 400 lines of the feed" in shown
    assert "─" not in shown, "there is no terminal to draw for"
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


async def test_on_a_server_of_ones_own_nothing_stays(redis_server: str, tmp_path: Path) -> None:
    feed = tmp_path / "own.ndjson"
    feed.write_text(
        "".join(json.dumps(LINE) + "\n" for _ in range(20)) + '{"from":"order","type":"ORDER_SUCCESS","data":{}}\n'
    )
    process = await demo("--input", str(feed), "--rate", "100", "--redis", redis_server, directory=tmp_path)
    code, shown = await ended(process)
    assert code == 0, shown
    assert "21 lines of the feed, 60 deliveries" in shown


async def test_a_script_gets_the_outcome_as_json(redis_server: str, tmp_path: Path) -> None:
    process = await demo("--events", "60", "--redis", redis_server, "--json", directory=tmp_path)
    out, err = await process.communicate()
    assert process.returncode == 0, err
    outcome = json.loads(out)
    assert (outcome["lines"], outcome["faults"], outcome["kept"]) == (60, [], None)
    assert outcome["sent"] + outcome["rejected"] == 60
    assert [service["service"] for service in outcome["services"]] == ["order", "account", "shipping", "notification"]
    assert all(service["owed"] == service["delivered"] for service in outcome["services"])
    assert all(service["latency"]["p99"] > 0 for service in outcome["services"])


async def test_it_stays_under_the_prefix_that_is_named_and_leaves_nothing_there(
    redis_server: str, prefix: str, tmp_path: Path
) -> None:
    process = await demo("--rate", "20", "--redis", redis_server, "--prefix", prefix, directory=tmp_path)
    async with Redis.from_url(redis_server) as redis:

        async def routing() -> None:
            assert await redis.hlen(f"{prefix}:registry") >= 4

        await eventually(routing, timeout=30)
        other = await demo("--redis", redis_server, "--prefix", prefix, directory=tmp_path)
        code, shown = await ended(other)
        assert code == 2
        assert f"another demo runs under {prefix} (2 brokers are connected)" in shown
        process.send_signal(signal.SIGINT)
        assert (await ended(process))[0] == 130
        assert [key async for key in redis.scan_iter(f"{prefix}:*")] == []


async def test_what_a_demo_that_was_killed_has_left_is_swept(redis_server: str, prefix: str, tmp_path: Path) -> None:
    async with Redis.from_url(redis_server) as redis:
        await redis.set(f"{prefix}:demo", "")
        await redis.lpush(f"{prefix}:broker:wait", "left")
        await redis.hset(f"{prefix}:registry", "shipping", '{"serviceName":"shipping","listensTo":[]}')
        code, shown = await ended(
            await demo("--events", "40", "--redis", redis_server, "--prefix", prefix, directory=tmp_path)
        )
        assert code == 0, shown
        assert [key async for key in redis.scan_iter(f"{prefix}:*")] == []


LATE = """
import os, sys, time
if sys.orig_argv[-1] == "hippo_messenger.demo.broker":
    try:
        os.close(os.open(os.environ["FIRST_BROKER"], os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        time.sleep(4)
"""


async def test_a_broker_that_starts_late_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards against asking a process to end that doesn't listen yet: all was accounted for, and the demo failed."""
    (tmp_path / "late").mkdir()
    (tmp_path / "late" / "sitecustomize.py").write_text(LATE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "late"), prepend=os.pathsep)
    monkeypatch.setenv("FIRST_BROKER", str(tmp_path / "first"))
    code, shown = await ended(await demo("--events", "20", directory=tmp_path))
    assert code == 0, shown
    assert (tmp_path / "first").exists()


async def test_a_prefix_with_registrations_of_others_is_refused_and_stays(
    redis_server: str, prefix: str, tmp_path: Path
) -> None:
    bus = Bus(redis_server, Settings(prefix=prefix))
    await bus.broker()
    await bus.listener(HippoService.SHIPPING, HippoEvent.ORDER_SUCCESS)
    code, shown = await ended(await demo("--redis", redis_server, "--prefix", prefix, directory=tmp_path))
    assert code == 2
    assert f"found the registrations of shipping under {prefix}, which stays as it is" in shown
    assert await bus.redis.hexists(bus.layout.registry, "shipping")
    assert not await bus.redis.exists(f"{prefix}:demo")
    await bus.close()


async def test_a_prefix_under_which_anything_stands_is_refused_and_no_pattern_is_made_of_it(
    redis_server: str, prefix: str, tmp_path: Path
) -> None:
    async with Redis.from_url(redis_server) as redis:
        await redis.set(f"{prefix}:thing", "of somebody else")
        code, shown = await ended(await demo("--redis", redis_server, "--prefix", prefix, directory=tmp_path))
        assert code == 2
        assert f"found keys such as {prefix}:thing" in shown
        star = prefix[:-3] + "*"
        code, shown = await ended(
            await demo("--events", "40", "--redis", redis_server, "--prefix", star, directory=tmp_path)
        )
        assert code == 0, shown
        assert [key async for key in redis.scan_iter(f"{prefix}:*")] == [f"{prefix}:thing".encode()]
        await redis.delete(f"{prefix}:thing")


MORE = """
from enum import auto
from hippo_messenger import Catalogue, EventData, EventType, HippoEvent, HippoService, Service
from hippo_messenger.catalogue.golden_hippo import CATALOGUE as GOLDEN

class Who(Service):
{services}
    TILL = auto()

class What(EventType):
{events}
    SOLD = auto()

class Sold(EventData, event_type=What.SOLD, since="1.0"):
    \"\"\"Something was sold.\"\"\"
    receipt: str

def model(event):
    known = GOLDEN.model(event)
    return type(known.__name__, (known,), dict(__doc__="As it was."), event_type=What(event.value), since=known.since)

CATALOGUE = Catalogue(services=Who, events=What, models=[Sold, *(model(event) for event in HippoEvent)], name="More")
"""


async def test_a_catalogue_that_has_more_will_do_and_its_events_may_stand_in_the_feed(tmp_path: Path) -> None:
    (tmp_path / "more.py").write_text(
        MORE.format(
            services="\n".join(f'    {one.name} = "{one.value}"' for one in HippoService),
            events="\n".join(f'    {one.name} = "{one.value}"' for one in HippoEvent),
        )
    )
    sold = {"from": "order", "type": "SOLD", "data": {"receipt": "R-1"}}
    feed = tmp_path / "own.ndjson"
    feed.write_text("".join(json.dumps(line) + "\n" for line in (LINE, sold, LINE)))
    words = ("--input", str(feed), "--catalogue", "more:CATALOGUE")
    code, shown = await ended(await demo(*words, directory=tmp_path))
    assert code == 0, shown
    assert "3 lines of the feed, 6 deliveries" in shown
    code, shown = await ended(await demo("--input", str(feed), directory=tmp_path))
    assert code == 2
    assert "line 2: " in shown
    assert "SOLD" in shown


async def test_a_catalogue_that_lacks_something_is_refused_with_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "less.py").write_text(MORE.split("class Sold", maxsplit=1)[0].format(services="", events="") + LESS)
    code, shown = await ended(await demo("--catalogue", "less:CATALOGUE", directory=tmp_path))
    assert code == 2
    assert "lacks the services account, billing, config, inventory, notification, order, shipping" in shown
    assert "and the event types ACCOUNT_CLOSED, ACCOUNT_REGISTERED" in shown


LESS = """
class Sold(EventData, event_type=What.SOLD, since="1.0"):
    \"\"\"Something was sold.\"\"\"

CATALOGUE = Catalogue(services=Who, events=What, models=[Sold], name="Less")
"""


@pytest.mark.chaos
async def test_a_process_that_dies_ends_the_demo_with_its_name(redis_server: str, tmp_path: Path) -> None:
    process = await demo("--rate", "20", "--redis", redis_server, directory=tmp_path)

    async def killed() -> None:
        if process.returncode is not None:
            pytest.fail(f"the demo ended before its time: {await ended(process)}")
        children = children_of(process.pid)
        members = [pid for pid, words in children if "demo.member notification" in words]
        assert len(members) == 1, children
        ledger = list(tmp_path.glob("hippo-demo-*/notification.ndjson"))
        assert ledger
        assert ledger[0].stat().st_size > 0
        os.kill(members[0], signal.SIGKILL)

    await eventually(killed, timeout=30)
    code, shown = await ended(process)
    assert code == 1
    assert "notification has ended with code -9" in shown
    assert "Traceback" not in shown


@pytest.mark.chaos
@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_who_ends_a_demo_leaves_no_process_and_no_file_behind(
    redis_server: str, tmp_path: Path, signal_number: signal.Signals
) -> None:
    """Guards against nine processes for ever after `timeout 30 hippo demo`, a cancelled job or a closed terminal."""
    process = await demo("--rate", "20", "--redis", redis_server, directory=tmp_path)
    children = await children_at_work(process, tmp_path)
    process.send_signal(signal_number)
    process.send_signal(signal_number)  # as `timeout` does
    code, shown = await ended(process)
    assert code == 130, shown
    assert "Traceback" not in shown
    assert not [pid for pid in children if is_there(pid)]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.chaos
async def test_a_demo_that_is_killed_takes_its_processes_along(redis_server: str, tmp_path: Path) -> None:
    """Guards against members that took the end of their stdin for the word to begin, and brokers that saw none."""
    process = await demo("--rate", "20", "--redis", redis_server, directory=tmp_path)
    children = await children_at_work(process, tmp_path)
    process.kill()
    await process.wait()

    async def gone() -> None:
        assert not [pid for pid in children if is_there(pid)]

    await eventually(gone, timeout=30)


async def children_at_work(process: Process, directory: Path) -> list[int]:
    """The processes that a demo has started, once they send and route."""
    children: list[int] = []

    async def working() -> None:
        ledgers = list(directory.glob("hippo-demo-*/shipping-*.ndjson"))
        assert any(ledger.stat().st_size for ledger in ledgers)
        children[:] = [pid for pid, _ in children_of(process.pid)]
        assert len(children) >= 9

    await eventually(working, timeout=30)
    return children


def is_there(pid: int) -> bool:
    """Whether a process still runs; one that has ended, and that nobody has waited for, doesn't."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def children_of(parent: int) -> list[tuple[int, str]]:
    """The processes that one has started, with their command lines."""
    with os.popen(f"ps -ww -o pid=,args= --ppid {parent}") as found:  # -ww: whatever COLUMNS says
        rows = [line.strip().split(None, 1) for line in found]
    return [(int(pid), args) for pid, args in rows]
