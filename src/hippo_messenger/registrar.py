"""What a broker knows of who listens: it takes registrations, and keeps up with those that other brokers take."""

from __future__ import annotations

import json

from hippo_messenger.clash import find_clash
from hippo_messenger.errors import EventTooLargeError, InvalidRegistrationError, RedisError, UnknownServiceError
from hippo_messenger.intake import Intake
from hippo_messenger.log import log
from hippo_messenger.observer import Observer
from hippo_messenger.queues.delivery import Outcome, QueuedJob
from hippo_messenger.queues.registry import Registry
from hippo_messenger.queues.schedule import Schedule
from hippo_messenger.registration import Maker, Registrations, Retention

__all__ = ["Registrar"]


class Registrar:
    """One broker's view of the registry; every routing checks its version, and says when the view is outdated."""

    def __init__(
        self,
        registry: Registry,
        *,
        schedule: Schedule,
        intake: Intake,
        observer: Observer,
        patience: float,
        keep: Retention,
    ) -> None:
        """Put one together that knows of nobody.

        Args:
            registry: Where registrations are kept.
            schedule: Where their repeat jobs are.
            intake: Reads them.
            observer: Told of clashes, and of trouble.
            patience: Seconds for each call that a registration needs; past them it is put back.
            keep: How long its job is kept.
        """
        self._registry = registry
        self._schedule = schedule
        self._intake = intake
        self._observer = observer
        self._patience = patience
        self._keep = keep
        self._known = Registrations()
        self._told_empty = False

    @property
    def known(self) -> Registrations:
        """Who listens to what, as of the last look."""
        return self._known

    async def load(self) -> None:
        """Read the registry for the first time.

        Raises:
            RedisError: It can't be read.
        """
        self._known = await self._registry.load()

    async def take(self, job: QueuedJob) -> Outcome:
        """Write a registration and make its repeat job anew; or, when that ticks, repair what it finds."""
        try:
            if job.scheduler is not None:
                await self._schedule.advance(job)
            registration, number = self._intake.read_registration(job)
            if self._known and await self._registry.is_lost():
                await self.reload(patience=self._patience)  # before it has a version again
            written = await self._registry.write(
                registration,
                number=number,
                maker=Maker.from_wire(job.data),
                patience=self._patience,
            )
            if job.scheduler is None and written != "older":
                await self._schedule.replace(registration, number=number)
                await self._schedule.follow(self._registry, registration.service, number=number)
            elif job.scheduler is not None and written == "older":  # it was left over
                await self._schedule.follow(self._registry, registration.service, number=number)
        except (EventTooLargeError, InvalidRegistrationError, UnknownServiceError) as error:
            log.warning("registration %s is refused: %s", job.id, error)
            return Outcome.failed(job, f"{type(error).__name__}: {error}")
        except (RedisError, TimeoutError) as error:
            if isinstance(error, RedisError):
                self._observer.trouble(error)
            log.warning("registration %s has to wait: %s", job.id, error)
            return Outcome.later(job, delay=1.0)
        except Exception as error:  # a tick that somebody made up, say: one job must not take the broker with it
            log.exception("registration %s could not be taken", job.id)
            return Outcome.failed(job, f"taking it raised {type(error).__name__}: {error}")
        if written == "changed":
            self._known = await self._registry.load(patience=None)
            log.info("%s listens to %s", registration.service, ", ".join(sorted(registration.listens_to)) or "nothing")
            await self._look_for_clash(registration.service)
        result = {"service": registration.service, "listensTo": sorted(registration.listens_to), "registry": written}
        return Outcome.completed(job, json.dumps(result).encode(), keep=self._keep)

    async def reload(self, *, patience: float | None = None) -> None:
        """Read the registry anew; one that Redis has lost as a whole is first written back, as this broker knows it."""
        known = self._known
        found = await self._registry.load(patience=patience)
        if known and not found and await self._registry.restore(known, patience=patience):
            log.warning("the registry was lost: %d services stand as before until they register", len(known.by_service))
            found = await self._registry.load(patience=patience)
        self._known = found  # not before: should writing it back fail, the next time is to know it still

    async def somebody_listens(self) -> bool:
        """Look once more whether anybody is registered at all."""
        self._known = await self._registry.load(patience=None)
        if not self._known and not self._told_empty:
            log.warning("no service is registered: events are put back until one is")
        self._told_empty = not self._known
        return bool(self._known)

    async def _look_for_clash(self, service: str) -> None:
        """Say so where this registration undid that of another deployment."""
        try:
            changes = await self._registry.changes(service)
        except RedisError as error:  # the next change is another chance
            self._observer.trouble(error)
            return
        clash = find_clash(changes, now=changes[0].at) if changes else None
        if clash is not None:
            log.warning("%s", clash)
            self._observer.clashed(clash)
