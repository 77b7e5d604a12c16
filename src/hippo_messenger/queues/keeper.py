"""The process that keeps one embedded server: starts it, and ends it when nobody has been connected for a while.

Run as a script, in a session of its own, with nothing but the standard library, so that it is up in a blink. Users hold
a connection each; so a user that was killed counts as gone, and a server whose starter was killed goes on.

Arguments, in this order: server program, directory of the socket, directory of the data, idle seconds, and `keep` or
`remove` for the data.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

_CHECK_INTERVAL = 0.5
_START_TIME = 10.0
_PATIENCE = 5.0
"""Seconds for an answer. A server that is silent for so long is slow, not gone: gone is one that nobody can reach."""


def main(program: str, runtime: Path, data: Path, idle: float, *, remove: bool) -> int:
    """Keep one server for as long as it is used."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    held = os.open(runtime / "keeper.lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 0  # somebody keeps it already
    if os.fork():
        return 0  # who started us needs to wait no longer; the child holds the lock
    server = _spawn(program, runtime, data) if _asks(runtime, "PING") is None else None
    if not _comes_up(runtime, server):
        _wait(server)
        return 1
    while not _is_idle(runtime, idle):
        pass
    _wait(server)
    if remove:
        shutil.rmtree(data, ignore_errors=True)
        shutil.rmtree(runtime, ignore_errors=True)
    return 0


def _spawn(program: str, runtime: Path, data: Path) -> subprocess.Popen[bytes]:
    (runtime / "redis.sock").unlink(missing_ok=True)
    options = {
        "port": "0",
        "unixsocket": str(runtime / "redis.sock"),
        "unixsocketperm": "700",
        "dir": str(data),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "hash-max-ziplist-value": "8192",  # see docs/guides/redis.md; under the name that old servers know too
        "daemonize": "no",
        "logfile": str(data / "server.log"),
    }
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    return subprocess.Popen([program, *words], stdin=subprocess.DEVNULL, start_new_session=True)


def _wait(server: subprocess.Popen[bytes] | None) -> None:
    """Until a server of ours is gone; it is told to go, in case that nobody could tell it by its socket."""
    if server is not None:
        server.terminate()
        server.wait()


def _comes_up(runtime: Path, server: subprocess.Popen[bytes] | None) -> bool:
    deadline = time.monotonic() + _START_TIME
    while time.monotonic() < deadline:
        # While it loads its data it answers with an error, and is there all the same.
        if _asks(runtime, "PING"):
            return True
        if server is not None and server.poll() is not None:
            return False
        time.sleep(0.005)
    return False


def _is_idle(runtime: Path, idle: float) -> bool:
    """Watch until the server is gone or was asked to go (True), or somebody came (False)."""
    deadline = time.monotonic() + idle
    while True:
        users = _users(runtime)
        if users is None:
            return True
        if users:
            time.sleep(_CHECK_INTERVAL)
            return False
        if time.monotonic() >= deadline:
            return _ends(runtime)
        time.sleep(min(_CHECK_INTERVAL, idle / 4))


def _ends(runtime: Path) -> bool:
    """Shut the server down, unless somebody is about to use it."""
    try:
        starting = os.open(runtime / "start.lock", os.O_CREAT | os.O_RDWR, 0o600)
    except FileNotFoundError:  # somebody has cleared the directory, so nobody can reach the server
        return True
    try:
        fcntl.flock(starting, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    try:
        if _users(runtime):
            return False
        _asks(runtime, "SHUTDOWN")
        (runtime / "redis.sock").unlink(missing_ok=True)
        return True
    finally:
        os.close(starting)


def _users(runtime: Path) -> int | None:
    """How many are connected beside us, or 1 where it doesn't say; None if the server is gone."""
    reply = _asks(runtime, "INFO clients")
    if reply is None:
        return None
    for line in reply.splitlines():
        if line.startswith(b"connected_clients:"):
            return int(line.split(b":")[1]) - 1
    return 1  # it loads its data, runs a script, or is slow


def _asks(runtime: Path, command: str) -> bytes | None:
    """The first words of the reply, empty if there is none; None if nobody can reach the server."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_PATIENCE)
        try:
            connection.connect(str(runtime / "redis.sock"))
            connection.sendall(command.encode() + b"\r\n")
            return connection.recv(4096).strip()
        except (FileNotFoundError, ConnectionRefusedError):
            return None
        except OSError:
            return b""


if __name__ == "__main__":
    _program, _runtime, _data, _idle, _after = sys.argv[1:]
    sys.exit(main(_program, Path(_runtime), Path(_data), float(_idle), remove=_after == "remove"))
