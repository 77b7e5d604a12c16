"""What an operator does with `hippo failed`, each run as a process."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import stat
import sys
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest
from rich.cells import cell_len

from hippo_messenger.catalogue.golden_hippo import AccountRegistered, HippoEvent, HippoService, OrderSuccess
from hippo_messenger.catalogue.model import EventData
from hippo_messenger.retry import RetryPolicy
from hippo_messenger.testing import eventually
from tests.contract.bus import Bus, Recorder
from tests.integration.commands import Operator
from tests.integration.test_terminal import drawn

ORDER = OrderSuccess(order_id="A-1", total=Decimal("12.30"))
ACCOUNT = AccountRegistered(account_id="B-1", verification_token="s3cret")
UNKNOWN_ID = "0198c0de-0000-7000-8000-000000000000"


@pytest.fixture
async def hippo(bus: Bus, tmp_path: Path) -> AsyncIterator[Operator]:
    operator = Operator(bus, tmp_path)
    yield operator
    await operator.close()


async def fail(bus: Bus, *events: EventData) -> list[str]:
    """Dead letters of account; its worker is gone again."""
    messenger = bus.messenger(HippoService.ACCOUNT, retry=RetryPolicy(attempts=1))
    known = await bus.count("account", "failed")
    ids = await messenger.send_many(list(events), notify_self=True)
    worker = await bus.worker(messenger, Recorder(raises=[ValueError("the [bank] is closed")] * len(events)))
    await bus.settled("account", failed=known + len(events))
    await worker.stop()
    return list(ids)


async def test_list_shows_groups_with_counts_and_the_rejected_apart(bus: Bus, hippo: Operator) -> None:
    ids = await fail(bus, ORDER, ORDER, ACCOUNT)
    with pytest.raises(ValueError, match="required"):
        await bus.messenger(HippoService.ORDER).send(event_type=HippoEvent.ORDER_SUCCESS, data={})

    rejected, orders, accounts = await hippo.json("failed", "list")

    assert (rejected["queue"], rejected["rejected"], rejected["count"]) == ("broker", True, 1)
    assert (orders["queue"], orders["event"], orders["count"]) == ("account", "ORDER_SUCCESS", 2)
    assert (orders["error"], orders["place"]) == ("ValueError", "contract/bus.py:__call__")
    assert (accounts["event"], accounts["example"]) == ("ACCOUNT_REGISTERED", ids[2])
    lines = (await hippo.run("failed", "list")).splitlines()
    assert lines[0].split() == ["queue", "group", "event", "count", "oldest", "newest", "error"]
    assert lines[1].startswith("account")
    assert "Rejected at send" in "\n".join(lines)
    assert lines[-1] == "3 dead letters in 2 groups, 1 rejected event in 1 group"
    (record,) = await hippo.json("failed", "list", "broker", "--group", rejected["group"], "--rejected")
    assert record["id"] == rejected["example"]
    letters = await hippo.json("failed", "list", "account", "--group", orders["group"])
    assert sorted(letter["id"] for letter in letters) == sorted(ids[:2])
    assert "no dead letters" in await hippo.run("failed", "list", "billing")


async def test_list_shows_the_rejected_alone_where_they_are_asked_for(bus: Bus, hippo: Operator) -> None:
    await fail(bus, ORDER, ACCOUNT)
    assert await hippo.run("failed", "list", "--rejected") == "no rejected events\n"
    for data in ({}, {"total": "1"}):
        with pytest.raises(ValueError, match="required"):
            await bus.messenger(HippoService.ORDER).send(event_type=HippoEvent.ORDER_SUCCESS, data=data)

    found = await hippo.json("failed", "list", "--rejected")

    assert [(group["queue"], group["rejected"]) for group in found] == [("broker", True)] * len(found)
    assert sum(group["count"] for group in found) == 2
    lines = (await hippo.run("failed", "list", "--rejected")).splitlines()
    assert lines[0].startswith("Rejected at send")
    assert not [line for line in lines if line.startswith("account")]
    assert lines[-1].startswith("2 rejected events in ")
    assert await hippo.run("failed", "list", "account", "--rejected") == "no rejected events\n"


async def test_list_shows_so_many_of_a_group_as_are_asked_for(bus: Bus, hippo: Operator) -> None:
    ids = await fail(bus, *[ORDER] * 3)
    (group,) = await hippo.json("failed", "list", "account")
    letters = await hippo.json("failed", "list", "account", "--group", group["group"], "--limit", "2")
    assert len(letters) == 2
    assert {letter["id"] for letter in letters} < set(ids)


@pytest.mark.parametrize("columns", [80, 140])
async def test_what_is_drawn_in_a_terminal_fits_it(bus: Bus, columns: int) -> None:
    await fail(bus, ORDER, ACCOUNT)
    with pytest.raises(ValueError, match="required"):
        await bus.messenger(HippoService.ORDER).send(event_type=HippoEvent.ACCOUNT_REGISTERED, data={})
    options = ("--redis", bus.url, "--prefix", bus.settings.prefix)
    code, lines = await drawn("failed", "list", *options, columns=columns)
    assert code == 0, lines
    assert max(cell_len(line) for line in lines) <= columns
    (header, *_) = [line for line in lines if line.startswith("queue")]
    assert header.split() == ["queue", "group", "event", "count", "oldest", "newest", "error"]
    code, lines = await drawn("failed", "redrive", "account", "--all", *options, columns=columns)
    assert code == 0, lines
    assert any(line.startswith("redriving account ━") for line in lines)
    assert "done: 2 of account redriven" in lines
    assert max(cell_len(line) for line in lines) <= columns


async def test_show_shows_one_whole_and_no_secret(bus: Bus, hippo: Operator) -> None:
    (event_id,) = await fail(bus, ACCOUNT)
    whole = await hippo.json("failed", "show", "account", event_id)
    assert whole["data"]["data"] == {"accountId": "B-1", "verificationToken": "***"}
    assert whole["reason"] == "ValueError: the [bank] is closed"
    assert "in __call__" in whole["traces"][0]
    assert (whole["attempts"], whole["valid"], whole["history"]) == (1, True, [])
    assert whole["options"]["attempts"] == 1
    shown = await hippo.run("failed", "show", "account", event_id)
    assert "the [bank] is closed" in shown
    assert "s3cret" not in shown
    assert "Traceback" in shown


async def test_whatever_stands_in_a_letter_is_shown_and_tells_no_secret(bus: Bus, hippo: Operator) -> None:
    base = bus.queue("account").base
    plain = '{"accountId":"B-1","verificationToken":"s3cret"}'
    payloads: list[str | bytes] = [
        plain,
        '{"specversion":"1.0","type":"ACCOUNT_REGISTERED","data":' + json.dumps(plain) + "}",
        '{"specversion":"1.0","type":"SOMETHING_ELSE","data":' + plain + "}",
        plain[:-1],
        "[" + plain + "]",
        '{"data":{"name":"\\ud800"}}',
        b"\xff",
    ]
    for number, data in enumerate(payloads):
        fields = {"name": "ACCOUNT_REGISTERED", "data": data, "failedReason": b"\x1b[2J \xff [red]", "opts": "7"}
        await bus.redis.hset(f"{base}odd-{number}", mapping=fields)
        await bus.redis.zadd(base + "failed", {f"odd-{number}": number})
    await bus.redis.zadd(base + "failed", {b"no \xfe text": 9})  # there is no job of this id

    shown = [await hippo.run("failed", "show", "account", f"odd-{number}") for number in range(len(payloads))]

    assert all("s3cret" not in text for text in shown)
    assert all("\x1b" not in text for text in shown)
    assert '"accountId": "B-1"' in shown[0]
    assert "got a str" in shown[1]
    assert "SOMETHING_ELSE is not in this catalogue" in shown[2]
    assert "it is no JSON" in shown[3]
    assert "\\ud800" in shown[5]
    listed = await hippo.json("failed", "list", "account")
    assert sum(group["count"] for group in listed) == len(payloads) + 1
    assert "no \udcfe text" in [group["example"] for group in listed]
    assert "of account discarded" in await hippo.run("failed", "discard", "account", "--all", "--reason", "odd")
    assert await bus.counts("account") == {}


async def test_redrive_says_how_many_and_goes_by_group_limit_and_id(bus: Bus, hippo: Operator) -> None:
    ids = await fail(bus, *[ORDER] * 5, ACCOUNT)
    groups = {group["event"]: group["group"] for group in await hippo.json("failed", "list", "account")}

    would = await hippo.run("failed", "redrive", "account", "--group", groups["ORDER_SUCCESS"], "--dry-run")
    assert would == "would redrive 5 of account; nothing was changed\n"
    assert await bus.counts("account") == {"failed": 6}
    assert (await hippo.run("failed", "redrive", "account", ids[5])).startswith("done: 1 of account redriven")
    some = await hippo.json("failed", "redrive", "account", "--group", groups["ORDER_SUCCESS"], "--limit", "2")
    assert (some["state"], some["redriven"], some["total"]) == ("done", 2, 2)
    assert await bus.job_ids("account") == sorted(ids)
    assert "done: 2 of account redriven" in await hippo.run("failed", "redrive", "account", "--status")
    rest = await hippo.run("failed", "redrive", "account", "--all", "--only-valid")
    assert rest.startswith("done: 3 of account redriven")
    assert await bus.counts("account") == {"wait": 6}


async def test_redrive_can_be_cancelled_from_elsewhere(bus: Bus, hippo: Operator) -> None:
    await fail(bus, *[ORDER] * 20)
    assert "was never redriven" in await hippo.run("failed", "redrive", "account", "--status")
    idle = await hippo.start("failed", "redrive", "account", "--cancel")
    assert (await idle.communicate())[0] == b"no redrive of account is under way\n"
    assert idle.returncode == 1
    redriving = await hippo.start("failed", "redrive", "account", "--all", "--rate", "1", "--json")

    async def begun() -> None:
        assert await bus.redis.hget(bus.layout.redrive("account"), "redriven")

    await eventually(begun, timeout=30)
    refused = await hippo.run("failed", "redrive", "account", "--all", code=1)
    assert "are redriven already" in refused
    assert (await hippo.run("failed", "redrive", "account", "--cancel")).startswith("cancelled: ")
    out, _ = await redriving.communicate()
    assert redriving.returncode == 1
    done = json.loads(out)
    assert done["state"] == "cancelled"
    assert await bus.counts("account") == {"wait": done["redriven"], "failed": 20 - done["redriven"]}


async def test_who_watches_a_redrive_learns_that_it_was_killed_and_nothing_of_earlier_ones(
    bus: Bus, hippo: Operator
) -> None:
    await fail(bus, *[ORDER] * 20)
    redriving = await hippo.start("failed", "redrive", "account", "--all", "--rate", "1", "--json")

    async def begun() -> None:
        assert await bus.redis.hget(bus.layout.redrive("account"), "redriven")

    await eventually(begun, timeout=30)
    watching = await hippo.start("failed", "redrive", "account", "--watch")
    assert watching.stderr is not None
    assert b"redriven" in await watching.stderr.readline()  # it is looking
    redriving.kill()
    out, _ = await watching.communicate()
    assert out.startswith(b"interrupted: ")
    assert watching.returncode == 1

    for words, said in (((), b"no redrive of account is under way\n"), (("--json",), b"null\n")):
        idle = await hippo.start("failed", "redrive", "account", "--watch", *words)
        assert await idle.communicate() == (said, b"")
        assert idle.returncode == 1
    assert "interrupted: " in await hippo.run("failed", "redrive", "account", "--status")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["redrive", "account"], "expected one of: the id"),
        (["redrive", "account", "--all", "--group", "x"], "expected one of: the id"),
        (["redrive", "acount", "--all"], "did you mean account?"),
        (["redrive", "account", "--status", "--cancel"], "expected one of --status"),
        (["list", "--group", "x"], "expected the service"),
        (["list", "--limit", "5"], "expected --limit together with --group"),
        (["list", "account", "--rejected", "-n", "5"], "expected --limit together with --group"),
        (["discard", "account", "--all"], "--reason"),
        (["edit", "account", UNKNOWN_ID, "{}", "--file", "x"], "got both"),
    ],
)
async def test_what_is_asked_wrongly_is_told(hippo: Operator, words: list[str], said: str) -> None:
    assert said in await hippo.run("failed", *words, code=2)


@pytest.mark.parametrize("words", [["show"], ["redrive"], ["discard", "--reason", "x"], ["export"], ["edit"]])
async def test_a_letter_that_is_not_there_is_told(bus: Bus, hippo: Operator, words: list[str]) -> None:
    (event_id,) = await fail(bus, ORDER)
    last = ["{}"] if words[0] == "edit" else []
    said = await hippo.run("failed", words[0], "account", event_id[:-1] + "!", *words[1:], *last, code=1)
    assert event_id in said


async def test_an_edit_is_validated_and_redriven(bus: Bus, hippo: Operator, tmp_path: Path) -> None:
    (event_id,) = await fail(bus, ACCOUNT)
    refused = await hippo.run("failed", "edit", "account", event_id, '{"country":"USA"}', code=2)
    assert "accountId: required" in refused
    assert "country" in refused
    assert "as a JSON object" in await hippo.run("failed", "edit", "account", event_id, "{", code=2)
    assert await bus.counts("account") == {"failed": 1}
    (tmp_path / "new.json").write_text('{"accountId":"B-2","verificationToken":"***"}')

    assert "is redriven" in await hippo.run("failed", "edit", "account", event_id, "--file", "new.json")

    assert await bus.counts("account") == {"wait": 1}
    job = await bus.job("account", event_id)
    assert job["data"]["data"] == {"accountId": "B-2", "verificationToken": "s3cret"}
    assert "B-1" in job["history"]


async def test_an_edit_in_an_editor_that_is_invalid_opens_again(bus: Bus, hippo: Operator, tmp_path: Path) -> None:
    (event_id,) = await fail(bus, ACCOUNT)
    editor = tmp_path / "editor.sh"
    editor.write_text(
        "#!/bin/sh\n"
        "grep -q s3cret $1 && exit 1\n"
        'if [ -e edited ]; then sed -i s/nowhere/DE/ $1; else sed -i \'2i "country": "nowhere",\' $1; fi\n'
        "touch edited\n"
    )
    editor.chmod(stat.S_IRWXU)
    code, out, err = await edited(bus, event_id, editor)
    assert code == 0, err
    assert b"country: String should match pattern" in err
    assert b"is redriven" in out
    job = await bus.job("account", event_id)
    assert job["data"]["data"] == {"country": "DE", "accountId": "B-1", "verificationToken": "s3cret"}


async def test_ctrl_c_in_the_editor_is_the_editors(bus: Bus, tmp_path: Path) -> None:
    """Guards against an edit that was thrown away: a terminal sends Ctrl-C to the command too, which then gave up."""
    (event_id,) = await fail(bus, ACCOUNT)
    editor = tmp_path / "editor.sh"
    editor.write_text("#!/bin/sh\nkill -INT $PPID\nkill -INT $PPID\nkill -QUIT $PPID\nsed -i s/B-1/B-2/ $1\n")
    editor.chmod(stat.S_IRWXU)
    code, out, err = await edited(bus, event_id, editor)
    assert code == 0, err
    assert b"is redriven" in out
    assert (await bus.job("account", event_id))["data"]["data"]["accountId"] == "B-2"


async def edited(bus: Bus, event_id: str, editor: Path) -> tuple[int | None, bytes, bytes]:
    """Exit code, stdout and stderr of an edit by this editor in a terminal, where every question is answered by yes."""
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "hippo_messenger", "failed", "edit", "account", event_id),
        env=os.environ | {"HIPPO_REDIS_URL": bus.url, "HIPPO_PREFIX": bus.settings.prefix, "EDITOR": str(editor)},
        cwd=editor.parent,
        stdin=theirs,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    os.write(ours, b"y\n")
    out, err = await process.communicate()
    os.close(ours)
    os.close(theirs)
    return process.returncode, out, err


async def test_letters_are_exported_discarded_and_imported_again(bus: Bus, hippo: Operator, tmp_path: Path) -> None:
    ids = await fail(bus, *[ORDER] * 3)
    hashes = {job_id: await bus.redis.hgetall(bus.queue("account").job(job_id)) for job_id in ids}
    exported = await hippo.run("failed", "export", "account")
    assert sorted(json.loads(line)["id"] for line in exported.splitlines()) == sorted(ids)

    words = ("failed", "discard", "account", "--all", "--reason", "of a test", "--export", "letters.ndjson")
    assert await hippo.run(*words) == "3 of account discarded, 3 so far\n"
    assert await bus.counts("account") == {}
    kept = tmp_path / "letters.ndjson"
    assert kept.read_text() == exported
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert "there already" in await hippo.run(*words, code=2)

    kept.write_text("not a letter\n" + kept.read_text() + '{"queue":"billing"}\n')
    process = await hippo.start("failed", "import", "account", "letters.ndjson")
    out, err = (stream.decode() for stream in await process.communicate())
    assert (process.returncode, out) == (1, "3 imported, 2 refused\n")
    assert [line.split(":")[1] for line in err.splitlines()] == [" line 1 is refused", " line 5 is refused"]
    assert {job_id: await bus.redis.hgetall(bus.queue("account").job(job_id)) for job_id in ids} == hashes
    (tmp_path / "again.ndjson").write_text(exported)
    again = await hippo.run("failed", "import", "account", "again.ndjson")
    assert again == "0 imported, 3 there already, 0 refused\n"
    assert await bus.counts("account") == {"failed": 3}


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("hippo failed re", {"redrive"}),
        ("hippo failed redrive sh", {"shipping"}),
        ("hippo failed list br", {"broker"}),
        ("hippo failed discard account --rea", {"--reason"}),
    ],
)
async def test_the_shell_completes_them_too(hippo: Operator, typed: str, expected: set[str]) -> None:
    process = await hippo.start(
        _HIPPO_COMPLETE="complete_bash",
        COMP_WORDS=typed,
        COMP_CWORD=str(len(typed.split()) - 1),
        _TYPER_COMPLETE_ARGS=typed,
    )
    out, err = await process.communicate()
    assert set(out.decode().split()) == expected, err
