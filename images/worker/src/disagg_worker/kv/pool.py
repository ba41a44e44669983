"""The pool of KV blocks and the leases on them.

Invariants: a block is either free or in exactly one lease; a lease is released exactly once; blocks whose
lease was released may be overwritten at once. All methods may be called from any thread.
"""

import threading
from collections import Counter
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from disagg_worker.kv.layout import KVLayout
from disagg_worker.layers import Layers

PAGE_BYTES = 4096


class PoolExhausted(Exception):  # noqa: N818 - a state of the pool, not a fault
    """Too few blocks are free right now."""


class LeaseReleased(RuntimeError):  # noqa: N818 - a state of the lease
    """A lease was used or released after its release: a bug in the caller."""


class BlockCounts(NamedTuple):
    """Blocks by state; the three add up to the size of the pool."""

    free: int
    active: int
    held: int


class KVLease:
    """The right to use some blocks of the pool, from `BlockPool.allocate` until `release`.

    A lease is *active* while the engine computes with it and *held* while it waits for a reader.
    """

    def __init__(self, pool: "BlockPool", blocks: tuple[int, ...], tokens: int) -> None:
        self._pool = pool
        self._blocks = blocks
        self._tokens = tokens
        self._state: Literal["active", "held", "released"] = "active"

    @property
    def blocks(self) -> tuple[int, ...]:
        """Block numbers in the order of the positions they hold."""
        return self._blocks

    @property
    def tokens(self) -> int:
        """Positions the lease was taken for."""
        return self._tokens

    @property
    def released(self) -> bool:
        """Whether the blocks went back."""
        return self._state == "released"

    def grow(self, tokens: int) -> None:
        """Extend the lease to hold `tokens` positions in all; raises PoolExhausted and changes nothing."""
        self._pool._grow(self, tokens)

    def hold(self) -> None:
        """Count the blocks as held (computed, waiting to be read) from now on."""
        self._pool._hold(self)

    def release(self) -> None:
        """Give the blocks back; raises LeaseReleased when that was done before."""
        self._pool._release(self)


class BlockPool:
    """All KV memory of a worker, in blocks of one size.

    Args:
        layout: Shape of a block over all layers.
        num_blocks: Blocks in the pool.
        layers: The layers whose KV is here; all of the model if left out.

    Attributes:
        array: float32 `[num_blocks, layers, 2, kv_heads, block_tokens, head_dim]`, C-contiguous and
            page-aligned, so that it can be registered with NIXL as one region and a block is one segment.
        on_release: Called after blocks came back, from the thread that released them.
    """

    def __init__(self, layout: KVLayout, num_blocks: int, layers: Layers | None = None) -> None:
        self.layout = layout
        self.layers = layers or Layers(0, layout.layers)
        self.array = _page_aligned((num_blocks, self.layers.count, *layout.layer_shape))
        self.on_release: Callable[[], None] = lambda: None
        self._free = list(range(num_blocks - 1, -1, -1))
        self._leased: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def num_blocks(self) -> int:
        """Blocks in the pool, free or not."""
        return int(self.array.shape[0])

    @property
    def block_bytes(self) -> int:
        """Bytes of a block here, which holds `layers`."""
        return self.layers.count * self.layout.layer_bytes

    @property
    def capacity_tokens(self) -> int:
        """Positions that the whole pool holds."""
        return self.num_blocks * self.layout.block_tokens

    @property
    def free_blocks(self) -> int:
        """Blocks that can be allocated now."""
        return len(self._free)

    def counts(self) -> BlockCounts:
        """Blocks by state, read at one instant."""
        with self._lock:
            return BlockCounts(len(self._free), self._leased["active"], self._leased["held"])

    def allocate(self, tokens: int) -> KVLease:
        """Take the blocks for `tokens` positions.

        Raises:
            PoolExhausted: Fewer blocks are free; nothing was taken.
        """
        with self._lock:
            lease = KVLease(self, self._take(self.layout.blocks_for(tokens)), tokens)
            self._leased["active"] += len(lease.blocks)
            return lease

    def _take(self, count: int) -> tuple[int, ...]:
        if count > len(self._free):
            raise PoolExhausted(f"{count} KV blocks are needed, {len(self._free)} are free")
        return tuple(self._free.pop() for _ in range(count))

    def _grow(self, lease: KVLease, tokens: int) -> None:
        with self._lock:
            self._require_live(lease)
            more = self._take(max(0, self.layout.blocks_for(tokens) - len(lease.blocks)))
            lease._blocks += more
            lease._tokens = max(lease.tokens, tokens)
            self._leased[lease._state] += len(more)

    def _hold(self, lease: KVLease) -> None:
        with self._lock:
            self._require_live(lease)
            self._leased[lease._state] -= len(lease.blocks)
            lease._state = "held"
            self._leased["held"] += len(lease.blocks)

    def _release(self, lease: KVLease) -> None:
        with self._lock:
            self._require_live(lease)
            self._leased[lease._state] -= len(lease.blocks)
            lease._state = "released"
            self._free.extend(reversed(lease.blocks))
        self.on_release()

    @staticmethod
    def _require_live(lease: KVLease) -> None:
        if lease.released:
            raise LeaseReleased("this KV lease was released before")


def _page_aligned(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Allocate zeros that start on a page: registration with a network card works in pages."""
    size = int(np.prod(shape)) * np.dtype(np.float32).itemsize
    raw = np.zeros(size + PAGE_BYTES, dtype=np.uint8)
    start = -raw.ctypes.data % PAGE_BYTES
    return raw[start : start + size].view(np.float32).reshape(shape)
