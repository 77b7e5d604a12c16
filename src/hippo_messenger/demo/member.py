"""One process of the demo: sends its services' lines of the feed, processes its service's jobs, writes its ledger.

    python -m hippo_messenger.demo.member NAME --feed FILE --ledger DIRECTORY [--events N] [--rate R]

Redis, the prefix and the catalogue come by the environment. It says `ready` when it is registered, and begins to send
when it reads a line; it ends at SIGTERM, and where stdin ends: then the demo is gone.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from itertools import islice
from pathlib import Path

from hippo_messenger.catalogue.catalogue import Catalogue
from hippo_messenger.catalogue.golden_hippo import HippoService
from hippo_messenger.catalogue.model import EventData
from hippo_messenger.demo.feed import FeedLine, read_feed
from hippo_messenger.demo.ledger import Ledger
from hippo_messenger.demo.lifeline import Lifeline, lifeline
from hippo_messenger.demo.roster import RETRY, ROSTER, Member
from hippo_messenger.errors import EventError, HippoError
from hippo_messenger.job import HippoJob
from hippo_messenger.log import log
from hippo_messenger.messenger import HippoMessenger
from hippo_messenger.processing import Processor
from hippo_messenger.shutdown import Shutdown
from hippo_messenger.worker import HippoWorker

__all__ = ["main"]

_AT_A_TIME = 100
_FAIL_ONCE, _FAIL_ALWAYS = 40, 6
"""Of a thousand events."""


class Trouble(Exception):
    """What a processor of the demo raises at times."""


async def take_part(
    member: Member, feed: Sequence[FeedLine], ledger: Ledger, *, catalogue: Catalogue, rate: float | None
) -> None:
    """Register, send when told to, and work until SIGTERM."""
    async with AsyncExitStack() as stack:
        demo = await stack.enter_async_context(lifeline())
        messengers = {
            service.value: await stack.enter_async_context(_messenger(member, service, catalogue))
            for service in member.speaks_for
        }
        own = messengers[member.service.value]
        await own.register(wait=True, timeout=20)
        worker = HippoWorker(messenger=own, processor=_processor(member, ledger))
        with Shutdown() as shutdown:
            await worker.start()
            print("ready", flush=True)
            await shutdown.asked_or(_send_all(demo, feed, messengers, ledger, rate=rate))
            await shutdown.asked()
            await worker.stop()


def _messenger(member: Member, service: HippoService, catalogue: Catalogue) -> HippoMessenger:
    listens_to = member.listens_to if service == member.service else frozenset()
    return HippoMessenger(
        service_name=catalogue.service(service.value),
        listens_to=[catalogue.event_type(event_type.value) for event_type in listens_to],
        enable_workers=member.works,
        catalogue=catalogue,
        retry=RETRY,
    )


def _processor(member: Member, ledger: Ledger) -> Processor[EventData]:
    async def process(job: HippoJob[EventData]) -> dict[str, object]:
        ledger.note("began", event_id=job.id, attempt=job.attempt)
        chance = zlib.crc32(job.id.encode())
        await asyncio.sleep(chance % 5 / 1000)
        if member.fails_at_times and _fails(chance % 1000, job.attempt):
            ledger.note("raised", event_id=job.id, attempt=job.attempt)
            raise Trouble(f"the carrier refuses {job.job_type} at attempt {job.attempt}")
        ledger.note("done", event_id=job.id, attempt=job.attempt)
        return {"by": member.name}

    return process


def _fails(chance: int, attempt: int) -> bool:
    return chance < _FAIL_ALWAYS or (chance < _FAIL_ONCE and attempt == 1)


async def _send_all(
    demo: Lifeline,
    feed: Iterable[FeedLine],
    messengers: Mapping[str, HippoMessenger],
    ledger: Ledger,
    *,
    rate: float | None,
) -> None:
    await demo.go()
    loop = asyncio.get_running_loop()
    start = loop.time()
    for lines in _chunks(feed, 1 if rate else _AT_A_TIME):
        if rate:
            await asyncio.sleep(max(0.0, start + lines[0].number / rate - loop.time()))
        await asyncio.gather(*(_send(line, messengers[line.sender.value], ledger) for line in lines))
    ledger.note("finished")


async def _send(line: FeedLine, messenger: HippoMessenger, ledger: Ledger) -> None:
    began = time.time()
    try:
        event_id = await messenger.send(event_type=line.event_type, data=line.data, event_id=line.event_id)
    except EventError:
        ledger.note("rejected", line=line.number)
    except HippoError as error:
        log.error("line %d could not be sent: %s", line.number, error)
        ledger.note("unsent", line=line.number)
    else:
        ledger.note("sent", line=line.number, event_id=event_id, at=began)


def _chunks(lines: Iterable[FeedLine], size: int) -> Iterator[list[FeedLine]]:
    left = iter(lines)
    while chunk := list(islice(left, size)):
        yield chunk


def main() -> None:
    """Take part as one of the roster."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=[member.name for member in ROSTER])
    parser.add_argument("--feed", type=Path, required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--events", type=int)
    parser.add_argument("--rate", type=float)
    asked = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    member = next(member for member in ROSTER if member.name == asked.name)
    is_first = next(other for other in ROSTER if other.service == member.service) is member
    catalogue = Catalogue.from_environment(search_path=Path.cwd())
    feed = read_feed(asked.feed, catalogue=catalogue, limit=asked.events)
    senders = {service.value for service in member.speaks_for} if is_first else set()
    own_lines = [line for line in feed if line.sender.value in senders]
    ledger = Ledger(asked.ledger, member.name)
    try:
        asyncio.run(take_part(member, own_lines, ledger, catalogue=catalogue, rate=asked.rate))
    finally:
        ledger.close()


if __name__ == "__main__":
    main()
