"""What the copies of an event cost Redis at the least: each is written, lined up, taken and deleted, and no more."""

from __future__ import annotations

import json

import redis.asyncio

from bench.contest import event_data
from bench.server import Server
from hippo_messenger.envelope import encode, new_event_id

__all__ = ["floor"]

BATCH = 50
"""Copies a round trip."""


async def floor(server: Server, *, events: int, size: int, services: int) -> float:
    """Redis µs an event: one process pipelines the copy of the hub and one for each service."""
    data = json.dumps(event_data(size), separators=(",", ":")).encode()
    event = encode(event_id=new_event_id(), source="order", event_type="ORDER_SUCCESS", data=data)
    copies = events * (1 + services)
    async with redis.asyncio.Redis.from_url(server.url) as client:
        before = await server.cpu()
        for first in range(0, copies, BATCH):
            pipeline = client.pipeline(transaction=False)
            for number in range(first, min(first + BATCH, copies)):
                key = f"floor:{number}"
                for command in (("HSET", key, "data", event), ("LPUSH", "floor", key), ("RPOP", "floor"), ("DEL", key)):
                    pipeline.execute_command(*command)
            await pipeline.execute()
        return (await server.cpu() - before) / events * 1e6
