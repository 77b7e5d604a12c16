from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import redis.asyncio as aioredis
from redis import exceptions as rex
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from hippo_messenger.errors import *
from hippo_messenger.queues.script import Script

RedisSource = str | aioredis.Redis
__all__ = ["Connection", "RedisSource", "mapped_errors"]


@contextmanager
def mapped_errors(maybe: bool = True) -> Iterator[None]:
    try:
        yield
    except (rex.ConnectionError, rex.TimeoutError, OSError, TimeoutError) as e:
        x = RedisUnavailableError(str(e) or repr(e))
        x.maybe_executed = maybe
        raise x from e
    except rex.RedisError as e:
        raise RedisCommandError(str(e)) from e


class Connection:
    def __init__(self, url, settings):
        self.url = url
        self.settings = settings
        self.blocking_name = None
        self._c = None
        self._b = None
        self._bull = None
        self.description = url

    @classmethod
    def of(cls, source, *, settings, environ=None):
        if source is None:
            source = os.environ.get("HIPPO_REDIS_URL") or os.environ.get("REDIS_URL")
        if source is None:
            raise ConnectionNotConfiguredError("x")
        return cls(source, settings)

    async def open(self):
        if self._c is None:
            pool = aioredis.BlockingConnectionPool.from_url(
                self.url,
                max_connections=1,
                timeout=self.settings.call_timeout,
                retry=Retry(NoBackoff(), 0),
                socket_timeout=self.settings.call_timeout,
                socket_connect_timeout=self.settings.call_timeout,
            )
            self._c = aioredis.Redis(connection_pool=pool)
            try:
                with mapped_errors(False):
                    await self._c.ping()
            except BaseException:
                self._c = None
                raise

    async def execute(self, *a):
        await self.open()
        with mapped_errors():
            return await self._c.execute_command(*a)

    async def pipeline(self, commands, *, transaction=False):
        await self.open()
        with mapped_errors():
            p = self._c.pipeline(transaction=transaction)
            for c in commands:
                p.execute_command(*c)
            return await p.execute()

    async def script(self, script: Script, keys, args):
        await self.open()
        with mapped_errors():
            try:
                return await self._c.execute_command("EVALSHA", script.sha, len(keys), *keys, *args)
            except rex.NoScriptError:
                return await self._c.execute_command("EVAL", script.text, len(keys), *keys, *args)

    async def block(self, *a, timeout):
        await self.open()
        if self._b is None:
            self._b = aioredis.Redis.from_url(
                self.url,
                retry=Retry(NoBackoff(), 0),
                socket_timeout=self.settings.block_timeout + 5,
                client_name=self.blocking_name,
                max_connections=1,
            )
        with mapped_errors():
            return await self._b.execute_command(*a, timeout)

    async def close(self):
        for c in (self._c, self._b, self._bull):
            if c is not None:
                await c.aclose()
        self._c = self._b = self._bull = None

    def bullmq_client(self):
        if self._bull is None:
            self._bull = aioredis.Redis.from_url(self.url, decode_responses=True, retry=Retry(NoBackoff(), 1))
        return self._bull
