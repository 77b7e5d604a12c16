"""Takes jobs from one service's queue and calls the user's processor with each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from types import TracebackType
from typing import Self, TypeVar

from hippo_messenger.backoff import Backoff
from hippo_messenger.breaker import Breaker
from hippo_messenger.catalogue.model import EventData
from hippo_messenger.errors import ConfigurationError, LayoutTooNewError, MessengerClosedError, RedisError
from hippo_messenger.health import Health, Pulse
from hippo_messenger.log import log
from hippo_messenger.messenger import HippoMessenger
from hippo_messenger.pace import Pace
from hippo_messenger.processing import Processing, Processor
from hippo_messenger.queues.call import Caller
from hippo_messenger.queues.clock import Clock
from hippo_messenger.queues.delivery import TAKE_BYTES, Order, Outcome, QueuedJob, Taken
from hippo_messenger.queues.layout import Layout
from hippo_messenger.queues.open_breakers import OpenBreakers
from hippo_messenger.queues.queue import Queue
from hippo_messenger.queues.upkeep import Upkeep
from hippo_messenger.runners import Runners
from hippo_messenger.shutdown import Shutdown
from hippo_messenger.supervision import Supervision
from hippo_messenger.watchdog import Culprit, Watchdog

__all__ = ["HippoWorker"]

Data = TypeVar("Data", bound=EventData)

_CROWD, _GATHERING = 8, 0.003
"""After a call that brought so many jobs the next comes so much later (s) at the earliest, unless more wait."""
_PRECEDENCE = 0.1
"""So much later (s) than others a worker looks for a job that it has put back: it would be the first of all again."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 0.8
_CANCEL_TIME = 1.0
"""How long (s) a processor that was cancelled may take to notice."""
_MOST_SETTLED = 100
"""By one call, however many are processed at a time: it holds Redis up for 15 to 20 µs for each."""
_HAND_BACK_TIME = 5.0
"""How long (s) a worker that stops tries to put jobs back; after that they are recovered as stalled."""


class HippoWorker:
    """Processes the jobs of its messenger's service, up to `concurrency` at a time.

    Start as many workers as you like, in as many processes: each job goes to one of them. It uses the messenger's
    connection, so stop it before the messenger is closed.
    """

    def __init__(
        self,
        *,
        messenger: HippoMessenger,
        processor: Processor[EventData] | None = None,
        concurrency: int = 10,
        processor_timeout: float | None = None,
    ) -> None:
        """Put a worker together; it takes nothing before it is started.

        Args:
            messenger: Says the service, the catalogue, the connection, and whether workers may run.
            processor: Called with every job that no `on` processor wants. An asynchronous function runs on the event
                loop, a plain one in a thread.
            concurrency: How many jobs are processed at the same time.
            processor_timeout: Seconds that a processor may take for one job; left out, as long as it likes. Past them
                the attempt has failed with a `ProcessorTimeoutError`: an asynchronous processor is cancelled, a plain
                one is told by `HippoJob.cancelled` and waited for.

        Raises:
            ConfigurationError: `concurrency` is not a whole number from 1 to 1,000, or the limit is no time.
        """
        if isinstance(concurrency, bool) or not isinstance(concurrency, int) or not 1 <= concurrency <= 1000:
            raise ConfigurationError(f"expected a concurrency from 1 to 1,000, got {concurrency!r}")
        self._messenger = messenger
        self._concurrency = concurrency
        self._settings = settings = messenger.settings
        layout = Layout(settings.prefix)
        keys = layout.queue(messenger.service)
        self._rejected_key = layout.rejected(messenger.service)
        caller = Caller(messenger.connection, observer=messenger.observer)
        self._queue = Queue(
            messenger.connection,
            keys,
            caller=caller,
            events_stream=settings.events_stream,
            metrics_minutes=settings.metrics_minutes,
        )
        self._pace = Pace(
            Breaker(attempts=settings.breaker_attempts, failures=settings.breaker_failures),
            service=self._queue.name,
            open_breakers=OpenBreakers(caller, layout),
            observer=messenger.observer,
            look_again=self._look_again,
        )
        self._processing = Processing(
            self._queue,
            catalogue=messenger.catalogue,
            settings=settings,
            processor=processor,
            threads=concurrency,
            time_limit=processor_timeout,
            clock=Clock(caller, layout),
            pace=self._pace,
            observer=messenger.observer,
        )
        self._upkeep = Upkeep(
            self._queue,
            lock=settings.worker_lock,
            check=settings.worker_stall_check,
            max_stalls=settings.worker_max_stalls,
            observer=messenger.observer,
        )
        self._supervision = Supervision(f"worker of {messenger.service}", observer=messenger.observer)
        self._pulse = Pulse(limit=2 * settings.block_timeout)
        self._wait_again = Backoff(first=_FIRST_PAUSE, longest=_LONGEST_PAUSE)
        self._watchdog = Watchdog(
            queue=self._queue.name,
            tolerance=settings.worker_block_warning,
            lock=settings.worker_lock,
            observer=messenger.observer,
            culprit=self._culprit,
        )
        self._runners = Runners(self._processing.process, ended=self._ended)
        self._finished: list[Outcome] = []
        self._returned: list[Outcome] = []
        self._changed = asyncio.Event()
        self._look = True
        self._exchanged = 0.0
        self._has_put_back = False
        self._started = self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def messenger(self) -> HippoMessenger:
        """The messenger of the service that it works for."""
        return self._messenger

    @property
    def health(self) -> Health:
        """Whether it takes jobs; not ready when it has room and has not polled its queue for twice `block_timeout`.

        With `enable_workers=False` it is ready as long as it runs, though it takes none.
        """
        messenger = self._messenger
        is_started = self._started and (bool(self._tasks) or not messenger.enable_workers)
        stopped = self._supervision.why_idle(started=is_started, stopping=self._stopping)
        has_all_it_may = not messenger.enable_workers or (self._room() <= 0 and not self._finished)
        return self._pulse.health(stopped=stopped, redis_ok=messenger.connection.answers, excused=has_all_it_may)

    def on(self, *models: type[Data], timeout: float | None = None) -> Callable[[Processor[Data]], Processor[Data]]:
        """Make the decorated function the processor of these events.

        Args:
            models: The events.
            timeout: Seconds that it may take for one job; left out, the worker's `processor_timeout`. `math.inf` is
                no limit.

        Raises:
            ConfigurationError: What is given is no event; one has a processor already, or is not in the catalogue; or
                the limit is no time.
        """
        if not models or not all(isinstance(model, type) and issubclass(model, EventData) for model in models):
            raise ConfigurationError(f"expected event-data models, as in @worker.on(OrderSuccess), got {models!r}")

        def register(processor: Processor[Data]) -> Processor[Data]:
            for model in models:
                self._processing.add(model, processor, time_limit=timeout)
            return processor

        return register

    async def start(self) -> None:
        """Connect and begin to take jobs; with `enable_workers=False` only say that none is taken.

        Raises:
            ConfigurationError: There is no processor at all.
            RedisError: Redis can't be used; nothing was started.
            MessengerClosedError: It was started before, or was stopped meanwhile; nothing was started.
        """
        if self._stopping or self._started:
            raise MessengerClosedError("expected a worker that was not started yet; make a new one")
        service = self._messenger.service
        if not self._messenger.enable_workers:
            self._started = True
            log.info("worker of %s: enable_workers is False, so no job is taken", service)
            return
        self._processing.check()
        self._started = True
        try:
            await self._messenger.connection.open()
            await self._queue.show_up()
            self._check_not_stopped()
        except BaseException:
            self._started = False
            await self._queue.leave()
            self._check_not_stopped()  # what the stop has closed has raised an error of its own
            raise
        supervision = self._supervision
        self._pulse.beat()
        self._tasks = [
            supervision.start("processing", self._process_all),
            supervision.start("renewing", self._upkeep.renew),
            supervision.start("recovering", self._upkeep.recover),
            supervision.watch(lambda: self.health, every=self._settings.block_timeout / 4),
        ]
        self._watchdog.start()
        log.info("worker of %s: up to %d jobs at a time", service, self._concurrency)

    async def run(self) -> None:
        """Start, and process until SIGINT or SIGTERM; then stop within the grace period, at a second signal at once.

        It stops in the same way when it is cancelled.

        Raises:
            ConfigurationError, RedisError: It could not start.
            LayoutTooNewError: A newer version of this package keeps the queues; it has stopped.
            MessengerClosedError: Its messenger was closed meanwhile, or it was started before.
        """
        with Shutdown() as shutdown:
            await self.start()
            try:
                await shutdown.asked_or(self._supervision.gave_up())
            finally:
                stopping = asyncio.create_task(self.stop())
                await shutdown.urged_or(asyncio.shield(stopping))
                if not stopping.done():
                    await self.stop(grace=0)
                await stopping
            if self._supervision.fault is not None:
                raise self._supervision.fault

    async def stop(self, *, grace: float | None = None) -> None:
        """Take no more, let running processors finish, and put the rest back at the head of the queue.

        No attempt is counted for what is put back. Called again while it waits, the shorter grace counts; called again
        after it was cancelled, it goes on.

        Args:
            grace: Seconds for running processors; left out, `worker_grace`.
        """
        self._stopping = True
        self._changed.set()
        await self._runners.finish(within=self._settings.worker_grace if grace is None else grace)
        await self._runners.cancel(within=_CANCEL_TIME)
        self._changed.set()
        if tasks := self._tasks:
            processing = tasks[0]
            await asyncio.wait([processing], timeout=_HAND_BACK_TIME)
            if not processing.done():
                log.error(
                    "%s: Redis gives no answer; what is not settled will be recovered as stalled", self._queue.name
                )
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._tasks = []
        self._watchdog.stop()
        self._processing.close()
        await self._pace.stop()
        await self._queue.leave()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _check_not_stopped(self) -> None:
        if self._stopping:
            raise MessengerClosedError("expected a worker that runs, got one that was stopped while it was started")

    async def _process_all(self) -> None:
        """One call after the other: each settles what has finished since the last and takes what there is room for."""
        listener: asyncio.Task[bool] | None = None
        taken = Taken()
        self._look = True
        try:
            while not self._stopping:
                room = self._room()
                if self._finished or (self._look and room > 0):
                    if self._is_crowded(taken):
                        await asyncio.sleep(self._exchanged + _GATHERING - asyncio.get_running_loop().time())
                        room = self._room()
                    self._look = self._look and room <= 0
                    taken = await self._exchange(room)
                    if room > 0 and taken.jobs and (taken.more or len(taken.jobs) == room):
                        self._look = True
                elif room > 0 and listener is None:
                    listener = asyncio.create_task(self._listen(taken))
                else:
                    await self._changed.wait()
                    self._changed.clear()
                    if room <= 0:
                        self._pulse.beat()  # with no room there was nothing to poll for
                if listener is not None and listener.done() and not self._stopping:
                    woken, listener, self._look = listener.result(), None, True
                    if woken and self._room() <= 0:
                        await self._wake_another()
        except BaseException:  # whoever goes on after a fault looks by itself, and listens anew
            await _end(listener)
            raise
        await self._wind_down(listener)

    def _is_crowded(self, taken: Taken) -> bool:
        """Jobs come in crowds, and none is left waiting: let some more come and end, so that one call does for all.

        A worker that gets a job now and then, or has more to do than it has room for, is not held up.
        """
        return len(taken.jobs) >= _CROWD and not taken.more and not self._stopping

    def _room(self) -> int:
        """How many jobs more it may take: none while those in hand come to `worker_bytes`."""
        is_laden = self._runners.bytes >= self._settings.worker_bytes
        return 0 if is_laden else self._pace.room(self._concurrency - len(self._runners))

    def _look_again(self) -> None:
        self._look = True
        self._changed.set()

    async def _exchange(self, room: int) -> Taken:
        """Settle what has finished, and take new jobs and start them."""
        settings = self._settings
        left = max(settings.worker_bytes - self._runners.bytes, 1)
        order = Order(room, lock=settings.worker_lock, max_bytes=min(left, TAKE_BYTES))
        outcomes, self._finished = self._finished[:_MOST_SETTLED], self._finished[_MOST_SETTLED:]
        statuses: Sequence[str] = ()
        if outcomes:
            try:
                settled = await self._queue.settle(outcomes, order)
            except BaseException:
                self._finished = outcomes + self._finished  # to be settled by the next call, whoever makes it
                raise
            statuses, taken = settled.statuses, settled.taken
        else:
            taken = await self._queue.take(order)
        self._pulse.beat()
        self._exchanged = asyncio.get_running_loop().time()
        ended = {outcome.kind for outcome in outcomes}
        self._has_put_back = "later" in ended or (self._has_put_back and not taken.jobs)
        self._upkeep.hold(taken)
        for job in taken.jobs:
            self._pace.took(job.id)
        if self._stopping:  # asked while this was under way
            for job in taken.jobs:
                self._ended(job, Outcome.back(job))
        else:
            self._runners.start(taken.jobs)
        self._report(outcomes, statuses)
        if "failed" in ended:
            await self._pause_at_limit()
        return taken

    def _culprit(self, task: asyncio.Task[object]) -> Culprit | None:
        job = self._runners.job_of(task)
        return None if job is None else Culprit(self._processing.name_of(job.name), job.name, job.id)

    def _ended(self, job: QueuedJob, outcome: Outcome) -> None:
        self._pace.ended(job.id)
        if outcome.kind == "back" and self._stopping:
            self._returned.append(outcome)  # all of them at once, so that the oldest ends at the head of the line
        else:
            self._finished.append(outcome)
        self._changed.set()

    def _report(self, outcomes: Sequence[Outcome], statuses: Sequence[str]) -> None:
        observer = self._messenger.observer
        for outcome, status in zip(outcomes, statuses, strict=True):
            job = outcome.job
            self._upkeep.let_go(job, lost=status == "lost")
            if status == "settled":
                observer.settled(job.name, queue=self._queue.name, outcome=outcome.kind)
            if status in ("lost", "gone"):
                log.warning("%s: job %s was %s before it was %s", self._queue.name, job.id, status, outcome.kind)

    async def _pause_at_limit(self) -> None:
        """Look after every failure. What waits here is not settled, and on a full Redis nothing else makes room."""
        settings = self._settings
        limit = settings.dead_letter_limit
        try:
            paused = await self._queue.pause_at(limit, rejected=self._rejected_key, patience=settings.call_timeout)
        except LayoutTooNewError:
            raise
        except RedisError as error:
            log.error("%s: could not be paused at its limit of dead letters: %s", self._queue.name, error)
            return
        if paused:
            log.error(
                "%s: the queue holds %d dead letters and is paused; redrive or discard them, then resume it",
                self._queue.name,
                limit,
            )

    async def _listen(self, taken: Taken) -> bool:
        """Wait until a job may be there; True when the queue said so, False when it is just time to look."""
        precedence = _PRECEDENCE if self._has_put_back else 0.0
        try:
            woken = await self._queue.wait(taken.wait_at_most(self._settings.block_timeout, precedence=precedence))
            self._pulse.beat()
            self._wait_again.reset()
            return woken
        except RedisError as error:
            await asyncio.sleep(self._wait_again.next())
            self._messenger.observer.trouble(error)
            return False
        finally:
            self._changed.set()

    async def _wake_another(self) -> None:
        """There is no room here for what this worker was woken for."""
        try:
            await self._queue.wake()
        except RedisError as error:  # whoever waits looks by itself before long
            self._messenger.observer.trouble(error)

    async def _wind_down(self, listener: asyncio.Task[bool] | None) -> None:
        """Settle what still finishes, then put the rest back, and pass on a wake-up that may have come too late."""
        await _end(listener)
        while len(self._runners) or self._finished:
            if self._finished:
                await self._within_hand_back_time(self._exchange(0))
            else:
                await self._changed.wait()
                self._changed.clear()
        self._finished, self._returned = self._returned[::-1], []  # the newest first
        if not self._finished and listener is not None:
            await self._within_hand_back_time(self._queue.wake())
        while self._finished:
            await self._within_hand_back_time(self._exchange(0))

    async def _within_hand_back_time(self, call: Coroutine[object, object, object]) -> None:
        try:
            async with asyncio.timeout(_HAND_BACK_TIME):
                await call
        except LayoutTooNewError:
            raise
        except (TimeoutError, RedisError) as error:
            log.error("%s: what could not be settled will be recovered as stalled: %r", self._queue.name, error)


async def _end(listener: asyncio.Task[bool] | None) -> None:
    if listener is not None:
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)
