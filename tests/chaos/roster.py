"""Who takes part, and how patient they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hippo_messenger.catalogue.golden_hippo import HippoService
from hippo_messenger.settings import Settings

__all__ = ["LISTENERS", "ROSTER", "SLOTS", "Part", "default_settings", "short_settings"]

Kind = Literal["broker", "worker", "node", "sender"]

SLOTS = 10
"""How many jobs one worker processes at a time."""


@dataclass(frozen=True, slots=True)
class Part:
    """One process."""

    name: str
    kind: Kind
    service: HippoService | None = None


ROSTER = (
    Part("broker-1", "broker"),
    Part("broker-2", "broker"),
    Part("account-1", "worker", HippoService.ACCOUNT),
    Part("account-2", "worker", HippoService.ACCOUNT),
    Part("shipping-1", "worker", HippoService.SHIPPING),
    Part("shipping-node", "node", HippoService.SHIPPING),
    Part("order-1", "worker", HippoService.ORDER),
    Part("sender-1", "sender", HippoService.ORDER),
    Part("sender-2", "sender", HippoService.ORDER),
)
LISTENERS = (HippoService.ACCOUNT.value, HippoService.SHIPPING.value)
"""Every event goes to these; `order`, which sends them all, gets those with notify_self."""


def short_settings(prefix: str) -> Settings:
    """Everything that takes long by default is short, so that many faults fit into a few minutes."""
    return Settings(
        prefix=prefix,
        call_timeout=3,
        block_timeout=2,
        presence_interval=1,
        empty_registry_delay=0.2,
        worker_lock=2,
        worker_stall_check=1,
        worker_grace=0.5,
        broker_lock=2,
        broker_stall_check=1,
        worker_max_stalls=1000,
    )


def default_settings(prefix: str) -> Settings:
    """The defaults, save that a job may lose its worker as often as it is killed here."""
    return Settings(prefix=prefix, worker_max_stalls=1000)
