"""One delivery, from a job as it was taken to its outcome: read, find the processor, run it, judge the end."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import json
import random
import threading
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

from pydantic_core import PydanticSerializationError, to_json

from hippo_messenger.cancellation import Cancellation
from hippo_messenger.catalogue.catalogue import Catalogue
from hippo_messenger.catalogue.model import EventData, EventType, Service
from hippo_messenger.envelope import Envelope, decode
from hippo_messenger.errors import (
    ConfigurationError,
    DeadLetter,
    Discard,
    EventError,
    LayoutTooNewError,
    ProcessorTimeoutError,
    RedisError,
    UnknownEventTypeError,
    UnknownServiceError,
)
from hippo_messenger.job import HippoJob
from hippo_messenger.log import log
from hippo_messenger.observer import Observer
from hippo_messenger.pace import Pace
from hippo_messenger.queues.clock import Clock
from hippo_messenger.queues.delivery import Outcome, QueuedJob
from hippo_messenger.queues.queue import Queue
from hippo_messenger.reading import EventReader
from hippo_messenger.registration import Retention
from hippo_messenger.retry import RetryPolicy
from hippo_messenger.settings import Settings
from hippo_messenger.time_limit import TimeLimit

__all__ = ["Processing", "Processor"]

Data = TypeVar("Data", bound=EventData)
Processor = Callable[[HippoJob[Data]], Awaitable[object] | object]
"""A user's function: called with one job; what it returns is stored as JSON, what it raises fails the job."""

_TRACES_KEPT, _MOST_TRACES = 10, 1000
_REASON_LENGTH = 4096


class _NoProcessor(Exception):
    """This worker can't process the type (yet)."""


class _Unfit(Exception):
    """The job will never be processed, here or elsewhere."""


class Processing:
    """Knows the processors of one worker, and runs one job at a time through them."""

    def __init__(
        self,
        queue: Queue,
        *,
        catalogue: Catalogue,
        settings: Settings,
        processor: Processor[EventData] | None,
        threads: int,
        time_limit: float | None,
        clock: Clock,
        pace: Pace,
        observer: Observer,
    ) -> None:
        self._queue = queue
        self._clock = clock
        self._pace = pace
        self._observer = observer
        self._catalogue = catalogue
        self._reader = EventReader(catalogue)
        self._settings = settings
        self._default = processor
        self._by_type: dict[EventType, Processor[Any]] = {}
        self._limit = TimeLimit.of(time_limit)
        self._limits: dict[EventType, TimeLimit | None] = {}
        self._asynchronous: dict[int, bool] = {}
        self._keep = Retention(age=settings.completed_age, count=settings.completed_count)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=f"hippo-{queue.name}")

    def add(self, model: type[Data], processor: Processor[Data], *, time_limit: float | None = None) -> None:
        """Make a function the processor of one event, where given with a limit of its own.

        Raises:
            ConfigurationError: The event has one already, or is not in the catalogue; or the limit is no limit.
        """
        event_type = self._catalogue.require_event_type(model.event_type)
        if event_type in self._by_type:
            raise ConfigurationError(f"expected one processor of {event_type}, got a second one")
        limit = TimeLimit.of(time_limit)
        self._by_type[event_type] = processor
        if time_limit is not None:
            self._limits[event_type] = limit

    def name_of(self, event_type: str) -> str:
        """What the processor of an event type is called; for those who tell of it, from any thread."""
        for known, processor in self._by_type.copy().items():
            if known.value == event_type:
                return _name(processor)
        return "no processor" if self._default is None else _name(self._default)

    def check(self) -> None:
        """To be called on the event loop that is to process.

        Raises:
            ConfigurationError: There is no processor at all.
        """
        if self._default is None and not self._by_type:
            raise ConfigurationError(
                "expected a processor, got none: pass processor=… or decorate a function with @worker.on(…)"
            )
        self._home = _Home(asyncio.get_running_loop(), threading.get_ident(), patience=self._settings.call_timeout)

    def close(self) -> None:
        """Let go of the threads; plain processors that still run are not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def process(self, job: QueuedJob) -> Outcome:
        """Run one job to its outcome; raises nothing but the cancellation, and the main thread's interrupt."""
        cancellation = Cancellation()
        try:
            event = self._read(job, cancellation)
            if event.expires is not None and await self._is_past(event.expires):
                return self._expired(job, event.expires, origin=event.origin)
            processor = self._processor(event.job_type)
            returned = await self._run(processor, event, cancellation)
            outcome = Outcome.completed(job, self._result(returned), keep=job.keep_completed(self._keep))
            self._pace.succeeded(job.id)
            return outcome
        except Discard as error:
            result = json.dumps({"discarded": str(error)[:_REASON_LENGTH]}).encode()
            return Outcome.completed(job, result, keep=job.keep_completed(self._keep))
        except _NoProcessor as error:
            return await self._expired_unread(job) or self._postponed(job, error)
        except (_Unfit, DeadLetter) as error:
            return self._dead(job, error)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                cancellation.set()  # for threads that an asynchronous processor may have started
                raise
            return self._failed_attempt(job, error)  # of something that the processor waited for, not of the job
        except BaseException as error:  # also the panic of a library, or sys.exit(): it ends a job, and no worker
            if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
                raise  # somebody's Ctrl-C, which says nothing about the job
            return self._failed_attempt(job, error)

    def _read(self, job: QueuedJob, cancellation: Cancellation) -> HippoJob[EventData]:
        if job.deferred_failure is not None:
            raise _Unfit(job.deferred_failure)
        try:
            job.check_size(self._settings.max_event_bytes)
            event = self._reader.read(job.data, expected=job.name)
        except UnknownEventTypeError as error:
            raise _NoProcessor(str(error)) from None
        except EventError as error:
            raise _Unfit(f"{type(error).__name__}: {error}") from None
        except Exception as error:  # a catalogue's own validator, say: it is the event's, and no attempt of a processor
            raise _Unfit(f"reading it raised {type(error).__name__}: {error}; mend that, then redrive it") from error
        envelope = event.envelope
        return HippoJob(
            data=event.data,
            job_type=event.event_type,
            origin=self._origin(envelope),
            id=envelope.id,
            time=envelope.time or _time(job),
            attempt=job.attempts_made + 1,
            raw=job.data,
            channel=_Channel(self._queue, job, self._home, cancellation),
            expires=envelope.expires,
        )

    async def _is_past(self, expiry: datetime) -> bool:
        return await self._clock.now(patience=None) >= expiry

    def _expired(self, job: QueuedJob, expiry: datetime, *, origin: str) -> Outcome:
        self._observer.expired(job.name, origin=origin, queue=self._queue.name)
        return Outcome.expired(job, expiry, keep=job.keep_completed(self._keep))

    async def _expired_unread(self, job: QueuedJob) -> Outcome | None:
        """The outcome of a job that nobody here can process, where nobody need process it any more."""
        envelope = decode(job.data)
        if envelope.expires is None or not await self._is_past(envelope.expires):
            return None
        return self._expired(job, envelope.expires, origin=envelope.source)

    def _origin(self, envelope: Envelope) -> Service | str:
        try:
            return self._catalogue.service(envelope.source)
        except UnknownServiceError:
            return envelope.source

    def _processor(self, event_type: EventType) -> Processor[Any]:
        processor = self._by_type.get(event_type, self._default)
        if processor is None:
            raise _NoProcessor(f"no processor for {event_type} in this worker")
        return processor

    async def _run(self, processor: Processor[Any], event: HippoJob[EventData], cancellation: Cancellation) -> object:
        limit = self._limits.get(event.job_type, self._limit)
        began = asyncio.get_running_loop().time() if limit is not None else 0.0
        if self._is_asynchronous(processor):
            call = cast("Awaitable[object]", processor(event))
        else:
            returned = await self._in_thread(processor, event, cancellation, limit)
            if not inspect.isawaitable(returned):
                return returned
            call = returned  # of a lambda around an asynchronous function: that is still to be done
        return await (call if limit is None else limit.over_coroutine(call, began=began, name=_name(processor)))

    async def _in_thread(
        self,
        processor: Processor[Any],
        event: HippoJob[EventData],
        cancellation: Cancellation,
        limit: TimeLimit | None,
    ) -> object:
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._threads, lambda: context.run(_run_plain, processor, event))
        future.add_done_callback(_looked_at)
        try:
            if limit is None:
                await asyncio.wait([future])
            else:
                await limit.over_thread(future, cancellation, name=_name(processor), job_id=event.id)
        except asyncio.CancelledError:
            cancellation.set()
            await asyncio.wait([future])  # its worker doesn't wait for long
            if _drop_unbegun(future) or cancellation.was_seen:
                raise
        except ProcessorTimeoutError:
            _drop_unbegun(future)
            raise
        return future.result()

    def _is_asynchronous(self, processor: Processor[Any]) -> bool:
        known = self._asynchronous.get(id(processor))  # they live as long as this does
        if known is None:
            known = self._asynchronous[id(processor)] = _is_asynchronous(processor)
        return known

    def _result(self, returned: object) -> bytes:
        try:
            result = to_json(returned, inf_nan_mode="strings")
        except PydanticSerializationError as error:
            raise DeadLetter(
                f"the processor is done, but what it returned is no JSON: {error}; return a dict, a list or None"
            ) from None
        if len(result) > self._settings.max_result_bytes:
            raise DeadLetter(
                f"the processor is done, but returned {len(result):,} bytes of JSON, more than the "
                f"{self._settings.max_result_bytes:,} that are kept; return less, or raise HIPPO_MAX_RESULT_BYTES"
            )
        return result

    def _postponed(self, job: QueuedJob, error: _NoProcessor) -> Outcome:
        """Somebody newer may know the type: wait for them, but not for ever."""
        # By how often it was put back: a clock may jump, and a job may have waited long before anybody looked at it.
        waited = max(job.attempts_started - 1 - job.attempts_made, 0) * self._settings.unknown_type_delay
        if waited >= self._settings.unknown_type_patience:
            return self._dead(job, error)
        log.warning("%s: job %s is put back: %s", self._queue.name, job.id, error)
        return Outcome.later(job, delay=self._settings.unknown_type_delay)

    def _failed_attempt(self, job: QueuedJob, error: BaseException) -> Outcome:
        self._pace.failed(job.id)
        policy = RetryPolicy.from_job_options(job.read_options)
        delay = policy.delay_after(job.attempts_made + 1, chance=random.random())
        if delay is None:
            return self._dead(job, error)
        return Outcome.retry(job, _reason(error), stacktrace=_traces(job, error), delay=delay)

    def _dead(self, job: QueuedJob, error: BaseException) -> Outcome:
        options = job.read_options
        log.error("%s: job %s (%s) is a dead letter: %s", self._queue.name, job.id, job.name, _reason(error))
        return Outcome.failed(
            job,
            _reason(error),
            stacktrace=_traces(job, error),
            attempts=RetryPolicy.from_job_options(options).attempts,
            keep=Retention.from_job_option(options.get("removeOnFail"), default=Retention()),
        )


@dataclass(frozen=True, slots=True)
class _Home:
    """Where jobs are processed, unless their processor is a plain function."""

    loop: asyncio.AbstractEventLoop
    thread: int
    patience: float
    """How long (s) an outage is waited out by what a processor says of its job."""


class _Channel:
    """Where one job's log and progress go, from the event loop or from a processor's thread."""

    __slots__ = ("_cancellation", "_home", "_job", "_queue")

    def __init__(self, queue: Queue, job: QueuedJob, home: _Home, cancellation: Cancellation) -> None:
        self._queue = queue
        self._job = job
        self._home = home
        self._cancellation = cancellation

    @property
    def cancelled(self) -> bool:
        return self._cancellation.is_set

    def wait_cancelled(self, timeout: float | None) -> bool:
        return self._cancellation.wait(timeout)

    def log(self, line: str) -> Awaitable[None]:
        return self._here_or_there(self._say(self._queue.log, line))

    def update_progress(self, progress: float | dict[str, object]) -> Awaitable[None]:
        words = to_json(progress, inf_nan_mode="strings")  # as JSON has no such numbers, and Node takes none
        return self._here_or_there(self._say(self._queue.update_progress, words))

    async def _say(self, how: Callable[..., Coroutine[Any, Any, None]], words: str | bytes) -> None:
        """The job is worth more than what is said of it, by which nothing is decided."""
        try:
            await how(self._job, words, patience=self._home.patience)
        except LayoutTooNewError:
            raise
        except RedisError as error:
            log.warning("%s: what job %s says of itself is lost: %s", self._queue.name, self._job.id, error)

    def _here_or_there(self, call: Coroutine[Any, Any, None]) -> Awaitable[None]:
        if threading.get_ident() == self._home.thread:
            return call
        asyncio.run_coroutine_threadsafe(call, self._home.loop).result()
        return _Done()


class _Done:
    """Awaits to nothing, as what has happened already."""

    def __await__(self) -> Generator[None, None, None]:
        return
        yield


def _run_plain(processor: Processor[Any], event: HippoJob[EventData]) -> object:
    try:
        return processor(event)
    # No future takes the first, so that whoever waits for this one would wait for ever; the second would pass for
    # somebody's Ctrl-C, which goes to the main thread alone.
    except (StopIteration, KeyboardInterrupt) as error:
        raise RuntimeError(f"the processor raised {type(error).__name__}") from error


def _looked_at(future: asyncio.Future[object]) -> None:
    """Nobody need complain that an error was never looked at, where a worker could wait no longer."""
    if not future.cancelled():
        future.exception()


def _drop_unbegun(future: asyncio.Future[object]) -> bool:
    """Whether a plain processor has returned its work to be awaited, instead of doing it; it is not begun any more."""
    returned = None if future.cancelled() or future.exception() is not None else future.result()
    if inspect.iscoroutine(returned):
        returned.close()
    return inspect.isawaitable(returned)


def _name(processor: Processor[Any]) -> str:
    return str(getattr(processor, "__qualname__", type(processor).__qualname__))


def _is_asynchronous(processor: Processor[Any]) -> bool:
    return inspect.iscoroutinefunction(processor) or inspect.iscoroutinefunction(getattr(processor, "__call__", None))  # noqa: B004


def _time(job: QueuedJob) -> datetime:
    """When a job was added; now, where its hash says what no calendar has."""
    try:
        return datetime.fromtimestamp(job.timestamp / 1000, UTC)
    except (OSError, OverflowError, ValueError):
        return datetime.now(UTC)


def _reason(error: BaseException) -> str:
    if isinstance(error, _Unfit | _NoProcessor | DeadLetter):
        return str(error)[:_REASON_LENGTH]
    try:
        said = str(error)
    except Exception as fault:  # the attempt has failed all the same
        said = f"what it says can't be read ({type(fault).__name__})"
    if isinstance(error, SystemExit):
        return f"SystemExit: {said} (a processor can't end its worker: raise DeadLetter, or another error)"[
            :_REASON_LENGTH
        ]
    return f"{type(error).__name__}: {said}"[:_REASON_LENGTH]


def _traces(job: QueuedJob, error: BaseException) -> str:
    """The traces of this job's failures as BullMQ keeps them, the newest last; as many as its options say."""
    try:
        earlier = json.loads(job.stacktrace or b"[]")
    except (ValueError, RecursionError):
        earlier = []
    kept = [trace for trace in earlier if isinstance(trace, str)] if isinstance(earlier, list) else []
    kept.append("".join(traceback.format_exception(error)))
    return json.dumps(kept[max(len(kept) - _traces_wanted(job), 0) :])


def _traces_wanted(job: QueuedJob) -> int:
    limit = job.read_options.get("stackTraceLimit")
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
        return _TRACES_KEPT
    return min(limit, _MOST_TRACES)
