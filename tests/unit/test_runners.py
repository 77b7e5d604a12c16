"""Jobs run as if each had a task of its own; those that wait for nothing share one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import ContextVar

import pytest

from hippo_messenger.queues.delivery import Outcome, QueuedJob
from hippo_messenger.registration import Retention
from hippo_messenger.runners import Runners

SEEN: ContextVar[str] = ContextVar("seen", default="nothing")


def job(job_id: str) -> QueuedJob:
    return QueuedJob(job_id, "token", "ORDER_SUCCESS", b"{}", b"{}", 0, 0, 1, None, None, None)


def done(of: QueuedJob) -> Outcome:
    return Outcome.completed(of, b"null", keep=Retention())


class Ends:
    """Runs jobs by one function, and remembers how they ended, in order."""

    def __init__(self, process: Callable[[QueuedJob], Coroutine[None, None, Outcome]]) -> None:
        self.kinds: list[tuple[str, str]] = []
        self.runners = Runners(process, ended=lambda job, outcome: self.kinds.append((job.id, outcome.kind)))

    async def all_of(self, *ids: str) -> list[tuple[str, str]]:
        self.runners.start([job(name) for name in ids])
        await self.runners.finish(within=10)
        assert len(self.runners) == 0
        assert self.runners.bytes == 0
        return self.kinds


async def test_jobs_that_wait_for_nothing_share_a_task_and_keep_their_order() -> None:
    tasks = set()

    async def process(job: QueuedJob) -> Outcome:
        tasks.add(asyncio.current_task())
        return done(job)

    assert await Ends(process).all_of("a", "b", "c") == [("a", "completed"), ("b", "completed"), ("c", "completed")]
    assert len(tasks) == 1


async def test_a_job_that_waits_has_its_task_to_itself_and_holds_up_no_other() -> None:
    go_on = asyncio.Event()
    tasks = {}

    async def process(job: QueuedJob) -> Outcome:
        tasks[job.id] = asyncio.current_task()
        if job.id in ("a", "c"):
            await go_on.wait()
        elif job.id == "d":
            go_on.set()
        assert asyncio.current_task() is tasks[job.id]
        return done(job)

    assert [name for name, _ in await Ends(process).all_of("a", "b", "c", "d")] == ["b", "d", "a", "c"]
    assert tasks["a"] is not tasks["b"]
    assert tasks["b"] is tasks["c"]
    assert tasks["d"] not in (tasks["a"], tasks["c"])


async def test_what_one_sets_in_its_context_is_seen_by_no_other_before_and_after_it_has_waited() -> None:
    seen: list[str] = []

    async def process(job: QueuedJob) -> Outcome:
        seen.append(SEEN.get())
        SEEN.set(job.id)
        if job.id != "b":
            await asyncio.sleep(0)
        assert SEEN.get() == job.id
        return done(job)

    await Ends(process).all_of("a", "b", "c")
    assert seen == ["nothing"] * 3
    assert SEEN.get() == "nothing"


async def test_a_task_that_it_starts_has_its_context() -> None:
    seen: list[str] = []

    async def look() -> None:
        seen.append(SEEN.get())

    async def process(job: QueuedJob) -> Outcome:
        SEEN.set(job.id)
        async with asyncio.TaskGroup() as group:
            group.create_task(look())
        return done(job)

    await Ends(process).all_of("a", "b")
    assert seen == ["a", "b"]


async def test_a_time_limit_inside_one_job_is_its_own() -> None:
    async def process(job: QueuedJob) -> Outcome:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await asyncio.sleep(10)
        return done(job)

    assert await Ends(process).all_of("a", "b") == [("a", "completed"), ("b", "completed")]


async def test_a_job_that_cancels_its_own_task_cancels_no_other() -> None:
    async def process(job: QueuedJob) -> Outcome:
        if job.id == "a":
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
        else:
            await asyncio.sleep(0)
        return done(job)

    assert await Ends(process).all_of("a", "b") == [("a", "completed"), ("b", "completed")]


async def test_a_fault_fails_that_job_and_the_others_go_on() -> None:
    async def process(job: QueuedJob) -> Outcome:
        if job.id == "b":
            raise RuntimeError("no processor has raised this")
        return done(job)

    assert await Ends(process).all_of("a", "b", "c") == [("a", "completed"), ("b", "failed"), ("c", "completed")]


async def test_whatever_is_raised_every_job_ends_and_no_slot_is_kept() -> None:
    """A job whose end was not told would stay locked for as long as its worker lives."""

    class Panic(BaseException):
        pass

    async def process(job: QueuedJob) -> Outcome:
        if job.id == "b":
            await asyncio.sleep(0)
            raise Panic
        if job.id == "c":
            raise Panic
        return done(job)

    ends = await Ends(process).all_of("a", "b", "c", "d")
    assert sorted(ends) == [("a", "completed"), ("b", "failed"), ("c", "failed"), ("d", "completed")]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_loop_puts_its_job_back_and_keeps_no_slot(kind: type[BaseException]) -> None:
    async def process(job: QueuedJob) -> Outcome:
        await asyncio.sleep(0)
        if job.id == "a":
            raise kind
        return done(job)

    ends = Ends(process)
    tasks: set[asyncio.Task[object]] = set()

    async def run() -> None:
        ends.runners.start([job("a"), job("b")])
        try:
            await asyncio.sleep(0)
            tasks.update(asyncio.all_tasks())
            await asyncio.Event().wait()
        finally:
            await ends.runners.finish(within=10)

    with pytest.raises(kind):
        asyncio.run(run())
    for task in tasks:
        assert task.cancelled() or not isinstance(task.exception(), Exception)  # which has been looked at now

    assert ("a", "back") in ends.kinds
    assert len(ends.kinds) == 2
    assert len(ends.runners) == 0


async def test_what_was_cancelled_before_it_began_holds_up_no_line() -> None:
    """As asyncio.run cancels every task of a loop that was interrupted."""

    async def process(job: QueuedJob) -> Outcome:
        return done(job)

    before = asyncio.all_tasks()
    ends = Ends(process)
    ends.runners.start([job("a")])
    for task in asyncio.all_tasks() - before:
        task.cancel()
    await asyncio.sleep(0)

    await ends.runners.finish(within=10)

    assert ends.kinds == [("a", "completed")]


async def test_what_is_cancelled_and_what_has_not_begun_is_put_back_and_what_ends_all_the_same_counts() -> None:
    begun = asyncio.Event()

    async def process(job: QueuedJob) -> Outcome:
        if job.id == "stubborn":
            begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            if job.id != "stubborn":
                raise
        return done(job)

    ends = Ends(process)
    ends.runners.start([job("a"), job("stubborn")])
    await begun.wait()
    ends.runners.start([job("c")])
    await ends.runners.cancel(within=10)

    assert sorted(ends.kinds) == [("a", "back"), ("c", "back"), ("stubborn", "completed")]
    assert len(ends.runners) == 0


async def test_a_second_cancel_while_the_first_waits_interrupts_no_cleaning_up() -> None:
    begun, cleaning, go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def process(job: QueuedJob) -> Outcome:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cleaning.set()
            await go_on.wait()
            cleaned.append(job.id)
        return done(job)

    cleaned: list[str] = []
    ends = Ends(process)
    ends.runners.start([job("a")])
    await begun.wait()
    first = asyncio.create_task(ends.runners.cancel(within=10))
    await cleaning.wait()
    second = asyncio.create_task(ends.runners.cancel(within=10))
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(first, second)

    assert (cleaned, ends.kinds) == (["a"], [("a", "back")])


async def test_a_job_that_ignores_its_cancellation_is_put_back_once() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def process(job: QueuedJob) -> Outcome:
        begun.set()
        while not go_on.is_set():
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                continue
        return done(job)

    ends = Ends(process)
    ends.runners.start([job("a")])
    await begun.wait()
    (task,) = (task for task in asyncio.all_tasks() if ends.runners.job_of(task))
    await ends.runners.cancel(within=0.01)
    go_on.set()
    await task

    assert ends.kinds == [("a", "back")]
