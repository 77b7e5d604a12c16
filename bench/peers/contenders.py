"""Who takes part in `make bench-peers`, on which server, and what a crash of that server would leave."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from bench import buses
from bench.contest import ROOT, Contestant, ContestServer
from bench.peers.servers import NatsServer, RabbitServer, free_port, rabbit_program
from bench.server import Server

__all__ = ["CONTENDERS", "OURS", "Contender", "Machine"]

PEERS = ROOT / ".venv-peers" / "bin"
ARQ = ROOT / ".venv-peers-arq" / "bin"


@dataclass(frozen=True)
class Contender:
    """A contestant and what it runs on."""

    contestant: Contestant
    key: str
    """What `--only` calls it."""
    server: Literal["redis", "rabbitmq", "nats"] = "redis"

    @property
    def name(self) -> str:
        return self.contestant.name


@dataclass(frozen=True)
class Machine:
    """Which servers there are here."""

    redis: str
    append_only: bool
    rabbit: str | None = field(default_factory=rabbit_program)
    nats: str | None = field(default_factory=lambda: shutil.which("nats-server", path=PEERS))

    def missing(self, contender: Contender) -> str | None:
        """Why this contender can't run here; None if it can."""
        program = contender.contestant.program[0]
        if shutil.which(program) is None:
            return f"no {Path(program).name} in {Path(program).parent}"
        if contender.server == "redis":
            return None
        if not self.append_only:
            return "its server writes to disk: see --persistence on"
        if contender.server == "rabbitmq":
            return None if self.rabbit else "no rabbitmq-server on PATH"
        return None if self.nats else "no nats-server in its environment"

    def server(self, contender: Contender) -> AbstractAsyncContextManager[ContestServer]:
        """A new one, for one run."""
        makers: dict[str, Callable[[], AbstractAsyncContextManager[ContestServer]]] = {
            "redis": lambda: Server(self.redis, append_only=self.append_only, port=free_port()),
            "rabbitmq": lambda: RabbitServer(self.rabbit or ""),
            "nats": lambda: NatsServer(self.nats or ""),
        }
        return makers[contender.server]()

    def durability(self, contender: Contender) -> str:
        """Where and when an event that was sent is kept, in words."""
        if contender.server == "rabbitmq":
            return "file, then confirm"
        if not self.append_only:
            return "memory"
        return "file, each second"


# Concurrency is 50, or 20 for those that were faster so.
def in_python(name: str, module: str, *, concurrency: int = 50, share: float = 1.0, home: Path = PEERS) -> Contestant:
    program = (str(home / "python"), "-m", f"bench.peers.{module}")
    return Contestant(name, program, concurrency, share, has_router=False)


OURS = Contender(buses.OURS, "ours")
CONTENDERS = (
    OURS,
    Contender(replace(buses.NODES[0], name="BullMQ, Node"), "bullmq"),
    Contender(in_python("FastStream, Redis", "faststream_redis", share=0.5), "faststream-redis"),
    Contender(in_python("FastStream, RabbitMQ", "faststream_rabbit", share=0.5), "faststream-rabbit", "rabbitmq"),
    Contender(in_python("FastStream, NATS", "faststream_nats", share=0.5), "faststream-nats", "nats"),
    Contender(in_python("Celery", "celery_redis", share=0.1), "celery"),
    Contender(in_python("Dramatiq", "dramatiq_redis", share=0.2), "dramatiq"),
    Contender(in_python("taskiq", "taskiq_redis", share=0.5, concurrency=20), "taskiq"),
    Contender(in_python("SAQ", "saq_redis", share=0.1, concurrency=20), "saq"),
    Contender(in_python("streaq", "streaq_redis", share=0.1), "streaq"),
    Contender(in_python("arq", "arq_redis", home=ARQ, share=0.1), "arq"),
)
