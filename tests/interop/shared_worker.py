"""A worker of ours in a shared queue, as shared_worker.mjs is a stock one.

Arguments: URL, settings (JSON), name, the file to write to, concurrency.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

from hippo_messenger.catalogue.golden_hippo import HippoService, OrderSuccess
from hippo_messenger.catalogue.model import EventData
from hippo_messenger.job import HippoJob
from hippo_messenger.messenger import HippoMessenger
from hippo_messenger.settings import Settings
from hippo_messenger.worker import HippoWorker


async def main(url: str, settings: str, who: str, log: str, concurrency: str) -> None:
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    messenger = HippoMessenger(
        service_name=HippoService.ACCOUNT, redis_connection=url, settings=Settings.model_validate_json(settings)
    )

    async def process(job: HippoJob[EventData]) -> dict[str, str]:
        def note(what: str) -> None:
            entry = {"who": who, "id": job.id, "attempt": job.attempt, "what": what}
            os.write(file, json.dumps(entry).encode() + b"\n")

        assert isinstance(job.data, OrderSuccess)
        number, failures = map(int, job.data.order_id.split("/"))
        note("began")
        await asyncio.sleep(number % 7 / 1000)
        if job.attempt <= failures:
            note("failed")
            raise RuntimeError(f"attempt {job.attempt}")
        note("done")
        return {"by": who}

    print("ready", flush=True)
    await HippoWorker(messenger=messenger, processor=process, concurrency=int(concurrency)).run()
    await messenger.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
