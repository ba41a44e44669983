"""What both sides of a transfer need of a rank: its KV cache, and what moves it."""

from dataclasses import dataclass, replace
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
        """Copy a block from and to staging memory, so that what copies is compiled.

        The block is none of the cache's: the engine may compute already, and would lose what it writes
        between the two copies. It is one of two, so that its rows are as long as those of the cache.
        """
        layout = replace(self.layout, blocks=2)
        path = plan(layout, layout, [0], [0], tokens=layout.block_tokens)
        rows = min(path.rows, self.slots.slot_bytes // path.lanes.row_bytes)
        spare, staged = self.mover.allocate(layout.nbytes), self.slots.array(0)
        for copy, of_source in ((self.mover.gather, True), (self.mover.scatter, False)):
            over = copy(spare, self.mover.places(path, of_source=of_source), 0, rows, staged)
            while not over():
                pass
