"""bull-board over the queues of a bus, by its HTTP interface."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

from tests.contract.bus import Bus
from tests.interop.peer import Peer

__all__ = ["Board"]


class Board:
    """One bull-board in a Node process of its own."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._place = f"http://127.0.0.1:{peer.said[0]['port']}"

    @classmethod
    async def start(cls, bus: Bus, *queues: str) -> Board:
        return cls(await Peer.start(bus.url, bus.settings.prefix, *queues, script="board.mjs"))

    async def close(self) -> None:
        await self._peer.stop()

    async def get(self, path: str, **query: object) -> Any:
        return (await self.call("GET", f"{path}?{urlencode(query)}"))[1]

    async def put(self, path: str, body: object = None) -> Any:
        """An action; it must be accepted."""
        status, answer = await self.call("PUT", path, body)
        assert status in (200, 204), answer
        return answer

    async def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Status and answer."""
        data = None if body is None else json.dumps(body).encode()
        request = Request(self._place + path, data=data, method=method, headers={"content-type": "application/json"})
        return await asyncio.to_thread(_answer, request)

    async def queue(self, name: str, **query: object) -> dict[str, Any]:
        """One queue as the overview has it."""
        queues = (await self.get("/api/queues", activeQueue=name, **query))["queues"]
        [found] = [queue for queue in queues if queue["name"] == name]
        assert isinstance(found, dict)
        return found

    async def counts(self, name: str = "account") -> dict[str, int]:
        """By state, without the states that hold nothing."""
        return {state: count for state, count in (await self.queue(name))["counts"].items() if count}


def _answer(request: Request) -> tuple[int, Any]:
    try:
        with urlopen(request, timeout=20) as response:
            text = response.read()
            return response.status, json.loads(text) if text else None
    except HTTPError as error:
        with error:
            return error.code, json.loads(error.read())
