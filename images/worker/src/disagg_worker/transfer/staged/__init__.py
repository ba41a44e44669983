"""KV cache through staging memory: many small pieces become few large READs, and fit another layout.

The owner gathers pieces of its region into a slot of staging memory, the reader READs the slot into one of
its own with NIXL, and scatters it. Several slots on each side keep gathering, wire and scattering going at
once.
"""

from disagg_worker.transfer.staged.cost import Cost
from disagg_worker.transfer.staged.receiver import Arrival, Receiver, Wanted
from disagg_worker.transfer.staged.sender import Sender
from disagg_worker.transfer.staged.slots import Slots
from disagg_worker.transfer.staged.store import Store

__all__ = ["Arrival", "Cost", "Receiver", "Sender", "Slots", "Store", "Wanted"]
