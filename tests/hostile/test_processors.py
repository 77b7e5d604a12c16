"""Processors that raise and return what nobody expects: each job ends with a reason, and the next one is processed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from hippo_messenger.catalogue.model import EventData
from hippo_messenger.errors import DeadLetter, Discard
from hippo_messenger.job import HippoJob
from hippo_messenger.processing import Processor
from hippo_messenger.settings import Settings
from tests.hostile.system import SERVICE, System, job


class Panic(BaseException):
    """As pyo3 raises it, and pytest.fail: neither an Exception nor a cancellation."""


class Unspeakable(Exception):
    """Has no words for what went wrong."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


async def _waits_for_what_was_cancelled(job: HippoJob[EventData]) -> object:
    helper = asyncio.create_task(asyncio.sleep(60, "too late"))
    helper.cancel()
    return await helper


def _raises(error: BaseException) -> Processor[EventData]:
    async def processor(job: HippoJob[EventData]) -> object:
        raise error

    return processor


def _raises_plainly(error: BaseException) -> Processor[EventData]:
    def processor(job: HippoJob[EventData]) -> object:
        raise error

    return processor


def _returns(make: Callable[[], object]) -> Processor[EventData]:
    async def processor(job: HippoJob[EventData]) -> object:
        return make()

    return processor


def _deep() -> object:
    value: Any = 1
    for _ in range(100_000):
        value = [value]
    return value


def _circle() -> object:
    value: list[object] = []
    value.append(value)
    return value


async def _logs_half_a_pair(job: HippoJob[EventData]) -> object:
    await job.log("\ud800")
    return None


FAILS: dict[str, Processor[EventData]] = {
    "half of a pair": _raises(ValueError("\ud800")),
    "half of a pair, plainly": _raises_plainly(ValueError("\udcff")),
    "a dead letter of half a pair": _raises(DeadLetter("\ud800")),
    "no words": _raises(Unspeakable()),
    "ten megabytes": _raises(ValueError("x" * 10_000_000)),
    "too deep": _raises(RecursionError("too deep")),
    "the end of an iterator": _raises(StopIteration()),
    "the end of an iterator, plainly": _raises_plainly(StopIteration()),
    "the end of an asynchronous iterator": _raises(StopAsyncIteration()),
    "a cancellation of its own": _raises(asyncio.CancelledError()),
    "a cancellation of its own, plainly": _raises_plainly(asyncio.CancelledError()),
    "something else was cancelled": _waits_for_what_was_cancelled,
    "a group": _raises(ExceptionGroup("\ud800", [ValueError("\ud800")])),
    "returns half of a pair": _returns(lambda: "\ud800"),
    "returns something deep": _returns(_deep),
    "returns itself": _returns(_circle),
    "returns an object": _returns(object),
    "returns much": _returns(lambda: "x" * 1_000_000),
    "returns bytes of no text": _returns(lambda: b"\xff"),
}
BASE_EXCEPTIONS: dict[str, BaseException] = {
    "a panic": Panic("in a library"),
    "the end of a generator": GeneratorExit(),
    "a group that is no exception": BaseExceptionGroup("two at once", [Panic("one"), ValueError("two")]),
    "an exit": SystemExit(2),
}
FAILS |= {f"{name}, asynchronously": _raises(error) for name, error in BASE_EXCEPTIONS.items()}
ENDS: dict[str, Processor[EventData]] = {
    "logs half of a pair": _logs_half_a_pair,
    "discards with half of a pair": _raises(Discard("\ud800")),
    "returns no number": _returns(lambda: float("nan")),
    "returns a large number": _returns(lambda: 10**4000),
}


@pytest.fixture
async def system(redis_server: str, settings: Settings) -> AsyncIterator[System]:
    """One whose processor is the test's own."""
    system = System(redis_server, settings)
    try:
        yield system
        system.check_alive()
    finally:
        await system.close()


class First:
    """Processes the hostile job as the test wants it, and any other as usual."""

    def __init__(self, system: System, processor: Processor[EventData]) -> None:
        self._system = system
        self._processor = processor

    async def __call__(self, job: HippoJob[EventData]) -> object:
        if job.id != "hostile-event-0001":
            return await self._system.recorder(job)
        returned = self._processor(job)
        return await returned if asyncio.iscoroutine(returned) else returned


@pytest.mark.parametrize("fault", FAILS)
async def test_a_processor_that_fails_in_any_way_leaves_a_dead_letter_with_a_reason(system: System, fault: str) -> None:
    await system.start(processor=First(system, FAILS[fault]))
    await system.put(SERVICE, "hostile-job", job())
    await system.send_and_receive()
    await system.drained()
    state, reason = await system.end_of(SERVICE, "hostile-job")
    assert (state, reason == "") == ("failed", False)
    assert len(reason) < 5000
    assert "a fault of the worker itself" not in reason


async def test_a_plain_processor_that_raises_stop_iteration_is_not_waited_for_for_ever(system: System) -> None:
    await system.start(processor=_raises_plainly(StopIteration()))
    await system.put(SERVICE, "hostile-job", job())

    await system.drained()

    assert "StopIteration" in (await system.end_of(SERVICE, "hostile-job"))[1]


@pytest.mark.parametrize("fault", [*BASE_EXCEPTIONS, "an interrupt"])
async def test_what_is_no_exception_fails_the_attempt_of_a_plain_processor_too(system: System, fault: str) -> None:
    """An interrupt that a thread raises is nobody's Ctrl-C: signals go to the main thread."""
    error = BASE_EXCEPTIONS.get(fault, KeyboardInterrupt())
    await system.start(processor=_raises_plainly(error))
    await system.put(SERVICE, "hostile-job", job())

    await system.drained()

    state, reason = await system.end_of(SERVICE, "hostile-job")
    assert (state, type(error).__name__ in reason) == ("failed", True)
    assert system.worker.health.ready


async def test_an_exit_of_a_processor_says_that_it_ends_no_worker(system: System) -> None:
    await system.start(processor=_raises(SystemExit("usage: …")))
    await system.put(SERVICE, "hostile-job", job())

    await system.drained()

    assert (await system.end_of(SERVICE, "hostile-job"))[1].startswith("SystemExit: usage: … (a processor can't end")


@pytest.mark.parametrize("fault", ENDS)
async def test_what_is_strange_but_no_failure_completes(system: System, fault: str) -> None:
    await system.start(processor=First(system, ENDS[fault]))
    await system.put(SERVICE, "hostile-job", job())
    await system.send_and_receive()
    await system.drained()
    state, returned = await system.end_of(SERVICE, "hostile-job")
    assert state == "completed"
    json.loads(returned, parse_int=str)
