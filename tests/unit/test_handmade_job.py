"""A processor alone, called with a job that was made by hand."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import assert_type

import pytest
from pydantic_core import PydanticSerializationError

from hippo_messenger.catalogue.golden_hippo import CATALOGUE, HippoEvent, HippoService, OrderSuccess
from hippo_messenger.errors import ConfigurationError, EventValidationError, InvalidEventIdError
from hippo_messenger.job import HippoJob
from hippo_messenger.reading import EventReader
from hippo_messenger.testing import HandmadeJob, job

ORDER = OrderSuccess(order_id="A-1", total=Decimal("12.30"))
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def test_it_is_a_job_with_all_that_a_processor_may_read() -> None:
    made = job(ORDER, origin=HippoService.ORDER, attempt=2, event_id="order-A-1-success", time=NOON)
    assert_type(made, HandmadeJob[OrderSuccess])
    assert isinstance(made, HippoJob)
    assert (made.data, made.job_type, made.origin) == (ORDER, HippoEvent.ORDER_SUCCESS, HippoService.ORDER)
    assert (made.id, made.time, made.attempt, made.expires) == ("order-A-1-success", NOON, 2, None)


def test_what_is_left_out_is_as_in_a_first_attempt_just_now() -> None:
    made, other = job(ORDER), job(ORDER)
    assert made.attempt == 1
    assert made.id != other.id
    assert timedelta(0) <= datetime.now(UTC) - made.time < timedelta(minutes=1)
    assert not made.cancelled


def test_its_envelope_is_one_that_a_worker_reads() -> None:
    made = job(ORDER, origin=HippoService.ORDER, expires=NOON)
    event = EventReader(CATALOGUE).read(made.raw, expected="ORDER_SUCCESS")
    assert (event.data, event.event_type) == (made.data, made.job_type)
    assert (event.envelope.id, event.envelope.source) == (made.id, "order")
    assert (event.envelope.time, event.envelope.expires) == (made.time, made.expires) == (made.time, NOON)


def test_its_data_is_what_comes_over_the_wire() -> None:
    with pytest.raises(EventValidationError) as raised:
        job(ORDER.model_copy(update={"total": "much"}))
    assert [field.path for field in raised.value.fields] == ["total"]


def test_an_id_or_an_attempt_that_no_job_has_is_refused() -> None:
    with pytest.raises(InvalidEventIdError):
        job(ORDER, event_id="A-1")
    with pytest.raises(ConfigurationError, match="an attempt from 1 on, got 0"):
        job(ORDER, attempt=0)


async def test_what_an_asynchronous_processor_says_is_kept_in_order() -> None:
    async def processor(job: HippoJob[OrderSuccess]) -> None:
        await job.log("packed")
        await job.update_progress(0.5)
        await job.log("shipped")
        await job.update_progress({"parcels": 1})

    made = job(ORDER)
    assert (made.lines, made.progress) == ((), None)
    await processor(made)
    assert made.lines == ("packed", "shipped")
    assert made.progress == {"parcels": 1}


def test_what_a_plain_processor_says_is_kept_without_an_await() -> None:
    made = job(ORDER)
    made.log("packed")
    made.update_progress(1)
    assert (made.lines, made.progress) == (("packed",), 1)


async def test_what_is_not_awaited_on_an_event_loop_is_not_said_as_in_a_worker() -> None:
    made = job(ORDER)
    with pytest.warns(RuntimeWarning, match="never awaited"):
        made.log("packed")
    assert not made.lines
    await asyncio.to_thread(made.log, "packed")
    assert made.lines == ("packed",)


async def test_what_was_said_in_a_thread_may_be_awaited_too() -> None:
    made = job(ORDER)
    await (await asyncio.to_thread(made.log, "packed"))
    assert made.lines == ("packed",)


def test_progress_that_is_no_json_is_refused_as_in_a_worker() -> None:
    made = job(ORDER)
    with pytest.raises(PydanticSerializationError):
        made.update_progress({"by": object()})
    assert made.progress is None


def test_a_plain_processor_that_waits_ends_when_its_job_is_cancelled() -> None:
    made = job(ORDER)
    assert not made.wait_cancelled(0)
    seen: list[bool] = []
    processor = threading.Thread(target=lambda: seen.append(made.wait_cancelled()))
    processor.start()
    made.cancel()
    processor.join(10)
    assert seen == [True]
    assert made.cancelled
