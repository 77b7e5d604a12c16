"""The two sides: each plays the same steps, one with stock scripts alone, the other with ours for what we do."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Protocol

from redis import Redis

from hippo_messenger.observer import Observer
from hippo_messenger.queues.call import Caller
from hippo_messenger.queues.connection import Connection
from hippo_messenger.queues.dead_letters import DeadLetters, Selection
from hippo_messenger.queues.delivery import Order, QueuedJob, Routing, Taken
from hippo_messenger.queues.delivery import Outcome as OurOutcome
from hippo_messenger.queues.layout import Layout
from hippo_messenger.queues.publisher import Publication, Publisher
from hippo_messenger.queues.queue import Queue
from hippo_messenger.queues.redrive import Redrive as OurRedrive
from hippo_messenger.queues.redrive import RedrivePlan
from hippo_messenger.registration import Registration, Retention
from hippo_messenger.settings import Settings
from tests.differential.steps import (
    MAIN,
    Add,
    Command,
    Deliver,
    Discard,
    Flow,
    Job,
    Limit,
    Note,
    Outcome,
    Peer,
    Recover,
    Redrive,
    Renew,
    Settle,
    Step,
    Take,
)
from tests.differential.stock import LOCK, METRICS, Stock

__all__ = ["Hippo", "Player", "StockPlayer"]

DELIVERED = '{{"deliveredTo":[{}]}}'


class Player(Protocol):
    """One side."""

    async def play(self, step: Step) -> object:
        """Do one step; what it says is compared with what the other side says."""
        ...


class StockPlayer:
    """Stock scripts, one job a call, in the order of the step."""

    def __init__(self, client: Redis, commands: Path, *, prefix: str) -> None:
        self._client = client
        self._commands = commands
        self._prefix = prefix
        self._main = self.queue(MAIN)
        self._tokens: dict[str, str] = {}
        self._numbers = itertools.count(1)

    def queue(self, name: str) -> Stock:
        return Stock(self._client, self._commands, prefix=self._prefix, queue=name)

    async def play(self, step: Step) -> object:
        match step:
            case Add(jobs) | Peer(jobs):
                return [self._main.add(job) for job in jobs]
            case Take() | Settle():
                return self._work(step)
            case Renew(jobs):
                return self._main.renew({job: self._tokens[job] for job in jobs})
            case Recover(max_stalls):
                self._client.delete(f"{self._main.base}stalled-check")
                return sorted(self._main.recover(max_stalls))
            case Note() | Limit():
                self._note(step)
                return None
            case Deliver(jobs, services):
                return self._deliver(jobs, services)
            case Redrive() | Discard():
                return self._let_go(step)
            case Flow(queue, parent, children):
                self.queue(queue).add_parent(parent)
                return [self._main.add(child) for child in children]
            case Command(words):
                name, key, *others = words
                self._client.execute_command(str(name), f"{self._main.base}{key}", *others)  # type: ignore[no-untyped-call]
                return None

    def _note(self, step: Note | Limit) -> None:
        if isinstance(step, Limit):
            if self._client.zcard(f"{self._main.base}failed") >= step.failed:
                self._main.pause()
        elif step.kind == "log":
            self._main.log(step.job, step.words)
        else:
            self._main.progress(step.job, step.words)

    def _work(self, step: Take | Settle) -> list[str]:
        if isinstance(step, Take):
            return self._take(step.count, step.worker)
        return self._settle(step.outcomes, step.fetch)

    def _take(self, count: int, worker: str) -> list[str]:
        token = f"stock:{next(self._numbers)}"
        taken: list[str] = []
        while len(taken) < count and (job := self._main.take(token, worker=worker)) is not None:
            taken.append(job)
            self._tokens[job] = token
        return taken

    def _settle(self, outcomes: tuple[Outcome, ...], fetch: bool) -> list[str]:
        taken = []
        for outcome in outcomes:
            token = self._tokens.pop(outcome.id)
            job = self._main.settle(outcome, token, fetch=fetch and outcome is outcomes[-1])
            if job is not None:
                taken.append(job)
                self._tokens[job] = token
        return taken

    def _let_go(self, step: Redrive | Discard) -> int:
        act = self._main.redrive if isinstance(step, Redrive) else self._main.remove
        for job in step.jobs:
            act(job)
        return len(step.jobs)

    def _deliver(self, jobs: tuple[str, ...], services: tuple[str, ...]) -> list[str]:
        value = DELIVERED.format(",".join(f'"{name}"' for name in services))
        for job in jobs:
            name, data = self._client.hmget(self._main.base + job, ["name", "data"])
            options = json.loads(Registration(services[0], frozenset()).job_options)
            for service in services:
                self.queue(service).add(Job(job, str(name), str(data), opts=options))
            self._main.settle(Outcome("completed", job, value), self._tokens.pop(job))
        return []


class Hippo:
    """Our scripts, one call for a step; what peers do (`Peer`, `Flow`, `Command`) is done as on the other side."""

    def __init__(self, url: str, peer: StockPlayer, *, prefix: str) -> None:
        settings = Settings(prefix=prefix)
        self._layout = Layout(prefix)
        self._connection = Connection.of(url, settings=settings)
        caller = Caller(self._connection, observer=Observer())
        self._queue = Queue(self._connection, self._layout.broker, caller=caller, metrics_minutes=METRICS)
        self._publisher = Publisher(caller, self._layout, own_queue="order", settings=settings)
        self._letters = DeadLetters(self._connection, queue=MAIN, settings=settings)
        self._redrive = OurRedrive(self._connection, queue=MAIN, settings=settings)
        self._peer = peer
        self._held: dict[str, QueuedJob] = {}

    async def play(self, step: Step) -> object:
        match step:
            case Add(jobs):
                return await self._publisher.publish_many([_publication(job) for job in jobs])
            case Take(count, worker):
                return self._hold(await self._queue.take(_order(count, worker)))
            case Settle(outcomes, fetch):
                return await self._settle(outcomes, fetch)
            case Renew(jobs):
                lost = await self._queue.renew([self._held[job] for job in jobs], lock=LOCK / 1000)
                return [job.id for job in lost]
            case Recover(max_stalls):
                await self._connection.execute("DEL", self._layout.broker.stalled_check)
                ids, _ = await self._queue.recover(interval=60, max_stalls=max_stalls)
                return sorted(ids)
            case Note() | Limit():
                await self._note(step)
                return None
            case Deliver(jobs, services):
                return await self._deliver(jobs, services)
            case Redrive() | Discard():
                return await self._let_go(step)
            case Flow() | Peer() | Command():
                return await self._peer.play(step)

    async def _note(self, step: Note | Limit) -> None:
        if isinstance(step, Limit):
            await self._queue.pause_at(step.failed, rejected=self._layout.rejected(MAIN), patience=LOCK / 1000)
        elif step.kind == "log":
            await self._queue.log(self._held[step.job], step.words, patience=LOCK / 1000)
        else:
            await self._queue.update_progress(self._held[step.job], step.words.encode(), patience=LOCK / 1000)

    async def close(self) -> None:
        await self._publisher.close()
        await self._connection.close()

    async def _settle(self, outcomes: tuple[Outcome, ...], fetch: bool) -> list[str]:
        ours = [_outcome(outcome, self._held.pop(outcome.id)) for outcome in outcomes]
        settled = await self._queue.settle(ours, _order(int(fetch)))
        assert set(settled.statuses) <= {"settled"}, settled.statuses
        return self._hold(settled.taken)

    async def _deliver(self, jobs: tuple[str, ...], services: tuple[str, ...]) -> list[str]:
        registrations = tuple(Registration(name, frozenset()) for name in services)
        routings = [Routing(self._held.pop(job), job, b"", registrations) for job in jobs]
        routed = await self._queue.route(
            routings, _order(0), layout=self._layout, version=0, window=60, keep=Retention()
        )
        assert routed.statuses == ("routed",) * len(jobs)
        return self._hold(routed.taken)

    async def _let_go(self, step: Redrive | Discard) -> int:
        count = 0
        for selection in (Selection(job_id=job) for job in step.jobs):
            if isinstance(step, Redrive):
                count += (await self._redrive.run(RedrivePlan(selection))).redriven
            else:
                count += (await self._letters.discard(selection, reason="why not")).count
        return count

    def _hold(self, taken: Taken) -> list[str]:
        self._held |= {job.id: job for job in taken.jobs}
        return [job.id for job in taken.jobs]


def _order(count: int, worker: str = "") -> Order:
    return Order(count=count, lock=LOCK / 1000, worker=worker)


def _publication(job: Job) -> Publication:
    options = json.dumps(job.stored_opts)
    return Publication(
        job.name, job.data.encode(), options, job.id, delay=job.delay, priority=job.priority, lifo=job.lifo
    )


def _outcome(outcome: Outcome, job: QueuedJob) -> OurOutcome:
    keep = Retention(age=outcome.age, count=outcome.count)
    stacktrace = json.dumps([outcome.value])
    match outcome.kind:
        case "completed":
            return OurOutcome.completed(job, outcome.value.encode(), keep=keep)
        case "failed":
            return OurOutcome.failed(job, outcome.value, stacktrace=stacktrace, attempts=outcome.number, keep=keep)
        case "retry":
            return OurOutcome.retry(job, outcome.value, stacktrace=stacktrace, delay=outcome.number / 1000)
        case "later":
            return OurOutcome.later(job, delay=outcome.number / 1000)
        case "back":
            return OurOutcome.back(job)
