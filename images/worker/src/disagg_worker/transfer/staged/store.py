"""What both sides of a transfer need of a rank: its KV cache, and what moves it."""

from dataclasses import dataclass
from typing import Any

from disagg_worker.kv.cache import CacheLayout
from disagg_worker.kv.mover import Mover
from disagg_worker.transfer.agent import Agent
from disagg_worker.transfer.staged.slots import Slots


@dataclass(frozen=True)
class Store:
    """A rank's KV cache, used by its agent's thread alone.

    Attributes:
        agent: Of NIXL, with which region and staging memory are registered.
        region: The cache, an array of the mover's library.
        layout: How it is arranged.
        mover: Copies.
        slots: Staging memory.
    """

    agent: Agent
    region: Any
    layout: CacheLayout
    mover: Mover
    slots: Slots
