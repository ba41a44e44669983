"""What both sides of a transfer need of a rank: its KV cache, and what moves it."""

from dataclasses import dataclass
from typing import Any

from disagg_worker.kv.cache import CacheLayout
from disagg_worker.kv.mover import Mover
from disagg_worker.kv.planner import plan
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

    def warm(self) -> None:
        """Copy a block that nobody uses yet to staging memory and back, so that what copies is compiled."""
        path = plan(self.layout, self.layout, [0], [0], tokens=self.layout.block_tokens)
        rows = min(path.rows, self.slots.slot_bytes // path.lanes.row_bytes)
        staged = self.slots.array(0)
        for copy, of_source in ((self.mover.gather, True), (self.mover.scatter, False)):
            over = copy(self.region, self.mover.places(path, of_source=of_source), 0, rows, staged)
            while not over():
                pass
