"""The test kit as its users have it: the plugin's fixtures, crash points, cuts and time travel."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from hippo_messenger import queues
from hippo_messenger.catalogue.golden_hippo import HippoEvent, HippoService, OrderSuccess
from hippo_messenger.catalogue.model import EventData
from hippo_messenger.errors import ConfigurationError, PossiblySentError, QueueCorruptedError, RedisCommandError
from hippo_messenger.job import HippoJob
from hippo_messenger.queues.script import load_script
from hippo_messenger.retry import RetryPolicy
from hippo_messenger.settings import Settings
from hippo_messenger.testing import CrashPoint, Proxy, System, advance, eventually
from tests.conftest import StartServer

ORDER = OrderSuccess(order_id="A-1", total=Decimal(1))
HOUR = 3600.0


class Desk:
    """A processor that counts."""

    def __init__(self, *, fails: int = 0) -> None:
        self.seen: Counter[str] = Counter()
        self._fails = fails

    async def __call__(self, job: HippoJob[EventData]) -> None:
        self.seen[job.id] += 1
        if self.seen[job.id] <= self._fails:
            raise ValueError("not yet")

    async def saw(self, event_id: str, *, times: int = 1) -> None:
        async def check() -> None:
            assert self.seen[event_id] == times

        await eventually(check)


async def with_desk(hippo: System, desk: Desk, *, retry: RetryPolicy | None = None) -> None:
    await hippo.broker()
    account = await hippo.messenger(HippoService.ACCOUNT, HippoEvent.ORDER_SUCCESS, retry=retry)
    await hippo.worker(account, desk)


async def test_a_system_routes_and_processes(hippo: System) -> None:
    desk = Desk()
    await with_desk(hippo, desk)
    shop = await hippo.messenger(HippoService.ORDER)
    await desk.saw(await shop.send(ORDER))


async def test_a_system_leaves_no_key_behind(hippo_redis_url: str, hippo_settings: Settings) -> None:
    async with redis.asyncio.Redis.from_url(hippo_redis_url) as client:
        async with System(hippo_redis_url, settings=hippo_settings) as system:
            await with_desk(system, Desk())
            assert [key async for key in client.scan_iter(f"{hippo_settings.prefix}:*")]
        assert not [key async for key in client.scan_iter(f"{hippo_settings.prefix}:*")]


async def test_a_system_removes_its_own_keys_only_whatever_its_prefix_is(
    hippo_redis_url: str, hippo_settings: Settings
) -> None:
    """Guards against a prefix that SCAN takes for a pattern: this one would be c-7, and not itself."""
    settings = hippo_settings.model_copy(update={"prefix": "[ci]-7*?\\"})
    others = ["c-7*?\\:key", "c-7xx\\:key", "i-7:key"]
    async with redis.asyncio.Redis.from_url(hippo_redis_url) as client:
        await client.mset(dict.fromkeys(others, "of others"))
        async with System(hippo_redis_url, settings=settings) as system:
            await with_desk(system, Desk())
        assert not [key async for key in client.scan_iter() if key.startswith(settings.prefix.encode())]
        assert await client.delete(*others) == 3


async def test_a_system_whose_close_is_cut_short_removes_its_keys_all_the_same(
    hippo_redis_url: str, hippo_settings: Settings
) -> None:
    system = System(hippo_redis_url, settings=hippo_settings)
    await with_desk(system, Desk())
    newest = await system.messenger(HippoService.BILLING, HippoEvent.ORDER_SUCCESS)
    closing = asyncio.create_task(system.close())
    await asyncio.sleep(0)  # now it waits for the end of the messenger's presence

    closing.cancel()

    with pytest.raises(asyncio.CancelledError):
        await closing
    assert not await keys_of(hippo_redis_url, hippo_settings.prefix)
    await newest.close()


async def test_a_system_that_cannot_remove_its_keys_says_so_and_hangs_up(
    start_server: StartServer, hippo_settings: Settings
) -> None:
    url = start_server("--rename-command", "UNLINK", "")
    async with redis.asyncio.Redis.from_url(url) as client:
        system = System(url, settings=hippo_settings)
        await with_desk(system, Desk())
        with pytest.raises(RedisCommandError, match=r"(?i)unknown command"):
            await system.close()

        async def alone() -> None:
            assert len(await client.client_list()) == 1

        await eventually(alone)


async def keys_of(url: str, prefix: str) -> list[bytes]:
    async with redis.asyncio.Redis.from_url(url) as client:
        return [key async for key in client.scan_iter(f"{prefix}:*")]


@pytest.mark.parametrize("form", ["{}/3", "{}?db=3", "{}/3?password=a%2Fsecret"])
async def test_a_system_keeps_to_the_database_of_its_url(
    start_server: StartServer, hippo_settings: Settings, form: str
) -> None:
    """Guards against proxies that lead to database 0, where nobody removes the keys."""
    options = ("--requirepass", "a/secret") if "password" in form else ()
    server = start_server(*options).removesuffix("/0")
    url = form.format(server)
    other = url.replace("/3", "/0").replace("db=3", "db=0")
    async with System(url, settings=hippo_settings) as system:
        desk = Desk()
        await with_desk(system, desk)
        shop = await system.messenger(HippoService.ORDER)
        await desk.saw(await shop.send(ORDER))
        assert await keys_of(url, hippo_settings.prefix)
        assert not await keys_of(other, hippo_settings.prefix)
    assert not await keys_of(url, hippo_settings.prefix)
    assert not await keys_of(other, hippo_settings.prefix)


async def test_a_system_logs_in_as_its_url_does(start_server: StartServer, hippo_settings: Settings) -> None:
    url = start_server("--requirepass", "a/secret").replace("redis://", "redis://default:a%2Fsecret@")
    async with System(url, settings=hippo_settings) as system:
        await with_desk(system, Desk())
    assert not await keys_of(url, hippo_settings.prefix)


@pytest.mark.parametrize(
    "url", ["rediss://:Zk3@host", "redis+sentinel://:Zk3@host/primary", "redis+cluster://:Zk3@host", "embedded"]
)
async def test_what_no_proxy_can_stand_before_is_refused(url: str, hippo_settings: Settings) -> None:
    async def broken() -> None:
        await System(url, settings=hippo_settings).broker()

    with pytest.raises(ConfigurationError, match=r"expected .* got (redi|.embedded)") as caught:
        await broken()
    assert "Zk3" not in str(caught.value)


async def test_time_travel_brings_a_delay_nearer(hippo: System) -> None:
    desk = Desk()
    await with_desk(hippo, desk)
    shop = await hippo.messenger(HippoService.ORDER)
    event_id = await shop.send(ORDER, delay=HOUR)

    assert await hippo.advance(HOUR / 2) == 1
    later = await shop.send(ORDER)
    await desk.saw(later)
    assert not desk.seen[event_id]
    assert await hippo.advance(HOUR / 2) == 1

    await desk.saw(event_id)


async def test_time_travel_brings_a_retry_nearer_in_every_queue(hippo: System) -> None:
    desk = Desk(fails=1)
    await with_desk(hippo, desk, retry=RetryPolicy(attempts=2, delay=HOUR, jitter=0))
    shop = await hippo.messenger(HippoService.ORDER)
    event_id = await shop.send(ORDER)
    await desk.saw(event_id)

    async def moved() -> None:
        assert await hippo.advance(HOUR) == 1

    await eventually(moved)
    await desk.saw(event_id, times=2)


async def test_time_travel_leaves_the_ticks_of_registrations_alone(hippo: System) -> None:
    await with_desk(hippo, Desk())

    async with redis.asyncio.Redis.from_url(hippo.redis_url) as client:

        async def ticks() -> list[Any]:
            return list(await client.zrange(f"{hippo.settings.prefix}:broker:delayed", 0, -1, withscores=True))

        async def there_is_one() -> None:
            assert len(await ticks()) == 1

        await eventually(there_is_one)
        before = await ticks()
        assert await hippo.advance(HOUR) == 0
        assert await ticks() == before


async def test_time_travel_goes_forward_only_and_touches_no_key_of_another_type(hippo: System) -> None:
    with pytest.raises(ConfigurationError, match="0 or more seconds, got -1"):
        await hippo.advance(-1)
    async with redis.asyncio.Redis.from_url(hippo.redis_url) as client:
        await client.set(f"{hippo.settings.prefix}:account:delayed", "text")
    with pytest.raises(QueueCorruptedError, match="got a string"):
        await hippo.advance(1)


async def test_time_travels_without_a_system_too(hippo: System) -> None:
    desk = Desk()
    await with_desk(hippo, desk)
    shop = await hippo.messenger(HippoService.ORDER)
    event_id = await shop.send(ORDER, delay=HOUR)

    assert await advance(HOUR, redis_connection=hippo.redis_url, settings=hippo.settings) == 1

    await desk.saw(event_id)


async def test_a_cut_after_publish_loses_the_reply_and_not_the_event(hippo: System) -> None:
    desk = Desk()
    await with_desk(hippo, desk)
    shop = await hippo.messenger(HippoService.ORDER)
    cut = hippo.cut("order", at="after publish")

    event_id = await shop.send(ORDER)

    await cut.happened()
    await desk.saw(event_id)


async def test_a_crash_before_publish_lets_nothing_through_until_it_is_healed(hippo: System) -> None:
    desk = Desk()
    await with_desk(hippo, desk)
    shop = await hippo.messenger(HippoService.ORDER)
    crash = hippo.crash("order", at="before publish")

    with pytest.raises(PossiblySentError) as raised:
        await shop.send(ORDER)

    await crash.happened()
    crash.heal()
    (event_id,) = raised.value.event_ids
    assert await shop.send(ORDER, event_id=event_id) == event_id
    await desk.saw(event_id)


async def test_what_is_not_there_cannot_crash(hippo: System) -> None:
    await hippo.broker()
    with pytest.raises(ConfigurationError, match="got 'shipping'; known: broker"):
        hippo.crash("shipping", at="after route")
    with pytest.raises(ConfigurationError, match="such as 'after route', got 'during route'"):
        hippo.crash("broker", at="during route")
    with pytest.raises(ConfigurationError, match="got 'after nothing'"):
        CrashPoint.parse("after nothing")
    crash = hippo.crash("broker", at="after route")
    with pytest.raises(TimeoutError, match=r"broker, after route, did not happen within 0\.1 s"):
        await crash.happened(timeout=0.1)


async def test_a_proxy_that_was_not_started_has_no_url() -> None:
    with pytest.raises(ConfigurationError, match="a proxy that was started"):
        _ = Proxy("redis://localhost").url


async def test_a_half_open_connection_answers_nothing_and_a_new_one_does(hippo_redis_url: str) -> None:
    proxy = Proxy(hippo_redis_url)
    await proxy.start()
    old, new = (redis.asyncio.Redis.from_url(proxy.url, socket_timeout=0.3, retry=None) for _ in range(2))
    await old.ping()
    proxy.half_open()

    asking: asyncio.Task[Any] = asyncio.ensure_future(old.get("key"))
    assert await new.ping()
    with pytest.raises(redis.exceptions.TimeoutError):
        await asking

    await old.aclose()
    await new.aclose()
    await proxy.stop()


def run_pytest(directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(directory), *options]
    return subprocess.run(
        [*words, str(directory)], cwd=directory, env=environ, capture_output=True, text=True, check=False
    )


def test_without_pytest_asyncio_the_fixture_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "test_hippo.py").write_text("def test_hippo(hippo):\n    pass\n")
    ended = run_pytest(tmp_path, "-p", "no:asyncio")
    assert "needs pytest-asyncio, which is not here" in ended.stdout
    assert ended.returncode == 1


def test_the_plugin_imports_nothing_heavy_until_a_fixture_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "test_nothing.py").write_text(
        "import sys\n"
        "def test_nothing(pytestconfig):\n"
        "    assert pytestconfig.pluginmanager.has_plugin('hippo_messenger')\n"
        "    heavy = {'hippo_messenger', 'redis', 'pydantic', 'bullmq'}\n"
        "    assert not heavy & sys.modules.keys()\n"
    )
    ended = run_pytest(tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_each_script_is_told_from_all_others_by_its_digest_and_by_the_begin_of_its_text() -> None:
    names = [path.stem for path in (Path(queues.__file__).parent / "scripts").glob("*.lua")]
    assert names
    for name in names:
        script = load_script(name)
        for request in (script.sha.encode(), script.text.encode()):
            assert [other for other in names if CrashPoint(after=True, script=other).is_in(request)] == [name]


async def test_a_proxy_garbles_the_replies_of_scripts_only(hippo_redis_url: str, hippo_settings: Settings) -> None:
    proxy = Proxy(hippo_redis_url)
    await proxy.start()
    client: Any = redis.asyncio.Redis.from_url(proxy.url)
    proxy.garble_replies(1)
    assert await client.ping()
    assert await client.eval("return {'ok', 1, 2}", 0) == [b"ok", 7]
    assert await client.eval("return {'ok', 1, 2}", 0) == [b"ok", 1, 2]
    assert proxy.garbled == 1
    await client.aclose()
    await proxy.stop()


async def test_a_proxy_leads_new_connections_elsewhere(hippo_redis_url: str, redis_server: str, prefix: str) -> None:
    proxy = Proxy(hippo_redis_url)
    await proxy.start()
    proxy.lead_to(redis_server)
    async with redis.asyncio.Redis.from_url(proxy.url) as client, redis.asyncio.Redis.from_url(redis_server) as there:
        await client.set(f"{prefix}:here", 1)
        assert await there.delete(f"{prefix}:here") == 1
    await proxy.stop()
