"""A rank's memory on the fabric: its KV pool and staging memory, registered with a NIXL agent."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from disagg_worker.config import StagingSection
from disagg_worker.kv import BlockPool
from disagg_worker.kv.mover import Mover, NumpyMover
from disagg_worker.transfer.agent import AgentThread, open_agent
from disagg_worker.transfer.staged import Cost, Slots, Store
from disagg_worker.transfer.staged.cost import ALWAYS_DIRECT, ALWAYS_STAGED, GPU_COST, HOST_COST

MIB = 1 << 20
HOST_SLOT_MIB, GPU_SLOT_MIB = 4, 64


@dataclass(frozen=True)
class Link:
    """What transfers of one rank are made with.

    Attributes:
        thread: Of the agent.
        pool: The KV memory.
        store: The same for transfers; of the agent's thread.
        cost: When a READ goes without staging.
        most_bytes_per_second: What is read through staging at most; None for no limit.
    """

    thread: AgentThread
    pool: BlockPool
    store: Store
    cost: Cost
    most_bytes_per_second: float | None = None


def open_link(name: str, backend: str, pool: BlockPool, staging: StagingSection) -> Link:
    """Start a NIXL agent for a pool, with staging memory.

    Args:
        name: Of the agent, unique to this process.
        backend: NIXL backend.
        pool: The KV memory.
        staging: How much staging memory, and when it is used.

    Raises:
        ConfigError: This worker cannot use the backend, or it does not start on this machine.
    """
    gpu = pool.region.gpu
    mover: Mover = NumpyMover()
    region: Any = pool.array
    if gpu is None:
        region = np.asarray(region)  # a tensor of PyTorch in host memory, too, is copied by NumPy
    else:
        from disagg_worker.kv.cuda import CudaMover  # noqa: PLC0415 - an extra, there where memory is on a GPU

        mover = CudaMover(gpu)
    slot_bytes = (staging.slot_mib or (HOST_SLOT_MIB if gpu is None else GPU_SLOT_MIB)) * MIB
    slots = Slots(mover.allocate(staging.slots * slot_bytes), staging.slots)
    thread = open_agent(name, backend, pool.region, slots.region)
    store = Store(thread.agent, region, pool.cache, mover, slots)
    thread.tell(store.warm)
    measured = HOST_COST if gpu is None else GPU_COST
    cost = {"auto": measured, "always": ALWAYS_STAGED, "never": ALWAYS_DIRECT}[staging.use]
    most = staging.most_mb_per_second * 1e6 or None
    return Link(thread, pool, store, cost, most)
