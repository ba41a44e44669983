"""One side of a staged transfer over real NIXL, with blocks whose elements tell whose they are."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from disagg_worker.kv.cache import CacheLayout, Share
from disagg_worker.kv.mover import NumpyMover
from disagg_worker.memory import region_of
from disagg_worker.transfer.agent import NixlAgent
from disagg_worker.transfer.staged import Arrival, Cost, Receiver, Sender, Slots, Store, Wanted
from disagg_worker.transfer.staged.cost import ALWAYS_STAGED
from disagg_worker.transfer.staged.notes import parse


@dataclass
class Side:
    """A rank that serves and reads.

    Attributes:
        name: Of its agent.
        layout: Of its cache.
        slot_bytes: Of its staging memory.
        slots: How many there are.
        cost: When it goes without staging.
        timeout: Of its transfers, in seconds.
    """

    name: str
    layout: CacheLayout
    slot_bytes: int = 16384
    slots: int = 2
    cost: Cost = ALWAYS_STAGED
    timeout: float = 60.0
    agent: NixlAgent = field(init=False)

    def __post_init__(self) -> None:
        mover = NumpyMover()
        self.memory = mover.allocate(self.layout.nbytes)
        self.staging = Slots(mover.allocate(self.slots * self.slot_bytes), self.slots)
        self.agent = NixlAgent(self.name, "UCX", region_of(self.memory), self.staging.region)
        store = Store(self.agent, self.memory, self.layout, mover, self.staging)
        self.sender = Sender(store, self.timeout)
        self.receiver = Receiver(store, cost=self.cost, timeout_seconds=self.timeout)

    def fill(self, seed: int) -> None:
        """Fill the cache with random bytes."""
        self.memory[:] = np.random.default_rng(seed).integers(0, 256, len(self.memory), dtype=np.uint8)

    def wanted(
        self, offer: str, blocks: list[int], tokens: int, share: Share, *, complete: bool = True
    ) -> Wanted:
        """What a reader, which is connected, knows of an offer here."""
        address = region_of(self.memory).address
        return Wanted(offer, self.name, None, self.layout, address, blocks, tokens, share,
                      self.staging.slot_bytes, complete)  # fmt: skip

    def step(self) -> None:
        """Follow notes and go on."""
        for text in self.agent.notes():
            if note := parse(text):
                self.sender.take(note)
                self.receiver.take(note)
        self.sender.step()
        self.receiver.step()


def run(sides: Iterable[Side], until: Callable[[], bool], steps: int = 2_000_000) -> None:
    """Let sides go on in turns until something is true."""
    for _ in range(steps):
        if until():
            return
        for side in sides:
            side.step()
    raise AssertionError("not in time")


def all_over(arrivals: Iterable[Arrival]) -> bool:
    return all(arrival.over for arrival in arrivals)
