"""Brokers, messengers and workers on one server and one prefix, each with a line to Redis that a test can break."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from hippo_messenger.broker import HippoBroker
from hippo_messenger.catalogue.catalogue import Catalogue
from hippo_messenger.catalogue.model import EventData, EventType, Service
from hippo_messenger.errors import ConfigurationError
from hippo_messenger.messenger import HippoMessenger
from hippo_messenger.observer import Observer
from hippo_messenger.processing import Processor
from hippo_messenger.queues.connection import Connection
from hippo_messenger.queues.layout import BROKER_QUEUE, Layout
from hippo_messenger.retry import RetryPolicy
from hippo_messenger.settings import Settings
from hippo_messenger.testing.clock import bring_nearer
from hippo_messenger.testing.proxy import CrashPoint, Proxy
from hippo_messenger.worker import HippoWorker

__all__ = ["Crash", "System"]

_SCAN = 1000


class Crash:
    """One breakdown that a test has ordered."""

    def __init__(self, sprung: asyncio.Event, *, what: str, heal: Callable[[], None]) -> None:
        """Use `System.crash` or `System.cut` instead."""
        self._sprung = sprung
        self._what = what
        self._heal = heal

    async def happened(self, *, timeout: float = 10.0) -> None:
        """Wait for it.

        Raises:
            TimeoutError: It did not happen within so many seconds.
        """
        try:
            async with asyncio.timeout(timeout):
                await self._sprung.wait()
        except TimeoutError:
            raise TimeoutError(f"{self._what} did not happen within {timeout:g} s") from None

    def heal(self) -> None:
        """Let it reach Redis again, as after a partition; where it was cut only once there is nothing to heal."""
        self._heal()


class System:
    """One isolated system for a test; it closes everything that was made through it, and removes its keys.

    A participant is called by its name: `broker`, then `broker-2` and so on; a messenger with its workers by the
    service, `account`, then `account-2` and so on.
    """

    def __init__(self, redis_url: str, *, settings: Settings, catalogue: Catalogue | None = None) -> None:
        """Put it together; nothing is started.

        Args:
            redis_url: A server, which others may use too: all keys begin with the prefix of the settings.
            settings: Of all participants; give it a prefix of its own.
            catalogue: What may be said; left out, `HIPPO_CATALOGUE` or Golden Hippo's.
        """
        self._url = redis_url
        self._settings = settings
        self._catalogue = catalogue or Catalogue.from_environment()
        self._layout = Layout(settings.prefix)
        self._connection = Connection.of(redis_url, settings=settings)
        self._proxies: dict[str, Proxy] = {}
        self._made: Counter[str] = Counter()
        self._stack = AsyncExitStack()

    @property
    def redis_url(self) -> str:
        """Where Redis is, past all that a test may break."""
        return self._url

    @property
    def settings(self) -> Settings:
        """Of all participants."""
        return self._settings

    async def broker(self, *, observer: Observer | None = None) -> HippoBroker:
        """A broker that routes."""
        proxy = await self._proxy(BROKER_QUEUE)
        broker = HippoBroker(
            redis_connection=proxy.url, settings=self._settings, catalogue=self._catalogue, observer=observer
        )
        self._stack.push_async_callback(broker.stop)
        await broker.start()
        return broker

    async def messenger(
        self,
        service: Service,
        *listens_to: EventType,
        enable_workers: bool = True,
        retry: RetryPolicy | None = None,
        observer: Observer | None = None,
    ) -> HippoMessenger:
        """A messenger; where it listens to something it is registered, and routing is live. That needs a broker."""
        proxy = await self._proxy(service.value)
        messenger = HippoMessenger(
            service_name=service,
            listens_to=listens_to,
            redis_connection=proxy.url,
            enable_workers=enable_workers,
            catalogue=self._catalogue,
            retry=retry,
            settings=self._settings,
            observer=observer,
        )
        self._stack.push_async_callback(messenger.close)
        if listens_to:
            await messenger.register(wait=True)
        return messenger

    async def worker(
        self, messenger: HippoMessenger, processor: Processor[EventData], *, concurrency: int = 10
    ) -> HippoWorker:
        """A worker that takes jobs; at the end it is not waited for."""
        worker = HippoWorker(messenger=messenger, processor=processor, concurrency=concurrency)
        self._stack.push_async_callback(worker.stop, grace=0)
        await worker.start()
        return worker

    def crash(self, name: str, *, at: str) -> Crash:
        """Let a participant die for Redis at a point: from then on nothing of it gets there, as if it had been killed.

        Args:
            name: The participant.
            at: `before` or `after` and a script, such as `after route`: before, Redis doesn't get the call; after, it
                has carried it out and nobody hears. The scripts of a broker are take, route, settle, renew, recover,
                register; of a worker take, settle, renew, recover; of a messenger publish, reject, presence.

        Raises:
            ConfigurationError: There is no such participant or point.
        """
        proxy = self._known(name)
        return self._trap(proxy, name, at, lambda: proxy.refuse(on=True), heal=lambda: proxy.refuse(on=False))

    def cut(self, name: str, *, at: str) -> Crash:
        """Break a participant's connections once at a point; it may connect again. Arguments as for `crash`.

        Raises:
            ConfigurationError: There is no such participant or point.
        """
        proxy = self._known(name)
        return self._trap(proxy, name, at, proxy.cut, heal=_nothing)

    async def advance(self, seconds: float) -> int:
        """Bring every delayed job nearer, as `hippo_messenger.testing.advance` says; how many there were."""
        services = self._catalogue.services
        return await bring_nearer(seconds, connection=self._connection, layout=self._layout, services=services)

    async def close(self) -> None:
        """End everything, the newest first, and remove every key under the prefix; may be called again.

        Where something can't be ended, the rest is done all the same before that is raised.
        """
        for proxy in self._proxies.values():
            proxy.refuse(on=False)
        async with AsyncExitStack() as last_first:
            last_first.push_async_callback(self._connection.close)
            last_first.push_async_callback(self._remove_keys)
            last_first.push_async_callback(self._stack.aclose)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _proxy(self, kind: str) -> Proxy:
        """For the next participant of a kind."""
        self._made[kind] += 1
        name = kind if self._made[kind] == 1 else f"{kind}-{self._made[kind]}"
        proxy = self._proxies[name] = Proxy(self._url)
        await proxy.start()
        self._stack.push_async_callback(proxy.stop)
        return proxy

    def _known(self, name: str) -> Proxy:
        if name not in self._proxies:
            known = ", ".join(self._proxies) or "none was made yet"
            raise ConfigurationError(f"expected the name of a participant, got {name!r}; known: {known}")
        return self._proxies[name]

    def _trap(self, proxy: Proxy, name: str, at: str, spring: Callable[[], None], *, heal: Callable[[], None]) -> Crash:
        sprung = proxy.trap(CrashPoint.parse(at), spring)
        return Crash(sprung, what=f"{name}, {at},", heal=heal)

    async def _remove_keys(self) -> None:
        cursor = b"0"
        while True:
            reply = await self._connection.execute("SCAN", cursor, "MATCH", self._layout.pattern, "COUNT", _SCAN)
            assert isinstance(reply, list)
            cursor, keys = reply
            if keys:
                await self._connection.execute("UNLINK", *keys)
            if cursor == b"0":
                return


def _nothing() -> None:
    """There is nothing to heal."""
