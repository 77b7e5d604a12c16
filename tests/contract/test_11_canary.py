"""Promise 11: with `enable_workers=False` no job is ever taken, nor its marker, and the log says so."""

from __future__ import annotations

from decimal import Decimal

import pytest

from hippo_messenger.catalogue.golden_hippo import HippoService, OrderSuccess
from hippo_messenger.errors import MessengerClosedError
from hippo_messenger.worker import HippoWorker
from tests.contract.bus import Bus, Recorder

ORDER = OrderSuccess(order_id="A-1", total=Decimal(1))


async def test_a_canary_that_runs_is_ready(bus: Bus) -> None:
    worker = HippoWorker(messenger=bus.messenger(HippoService.ACCOUNT, enable_workers=False), processor=Recorder())
    assert (worker.health.alive, worker.health.reason) == (False, "it was not started yet")

    await worker.start()
    assert (worker.health.alive, worker.health.ready) == (True, True)
    with pytest.raises(MessengerClosedError):
        await worker.start()

    await worker.stop()
    assert (worker.health.alive, worker.health.reason) == (False, "it was stopped")


async def test_a_canary_takes_nothing_not_even_the_marker(bus: Bus, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="hippo_messenger")
    canary = bus.messenger(HippoService.ACCOUNT, enable_workers=False)
    recorder = Recorder()
    await bus.worker(canary, recorder)

    ids = await canary.send_many([ORDER] * 5, notify_self=True)

    assert "enable_workers is False" in caplog.text
    assert await bus.counts("account") == {"wait": 5}
    assert await bus.redis.zscore(bus.queue("account").marker, "0") == 0
    real = Recorder()
    await bus.worker(bus.messenger(HippoService.ACCOUNT), real)
    await bus.settled("account", completed=5)
    assert (sorted(real.ids), recorder.ids) == (sorted(ids), [])
