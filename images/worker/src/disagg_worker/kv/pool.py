"""The pool of KV blocks and the leases on them.

Invariants: a block is either free or in leases; only blocks that hold a known prefix are in several, and
nobody writes to those; a lease is released exactly once. A block whose last lease was released may be
overwritten at once, but for those that hold a known prefix: they are taken last, the longest unused first.
All methods may be called from any thread; blocks are allocated and remembered by one.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from disagg_worker.kv.cache import CacheLayout
from disagg_worker.kv.layout import KVLayout
from disagg_worker.kv.prefix import NO_PREFIX, Key, KVEvent, Prefix, Removed, Stored
from disagg_worker.kv.sums import layer_sums
from disagg_worker.layers import Layers
from disagg_worker.memory import Region, page_aligned, region_of


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

    def __init__(self, pool: "BlockPool", blocks: tuple[int, ...], tokens: int, reused: int = 0) -> None:
        self._pool = pool
        self._blocks = blocks
        self._tokens = tokens
        self._reused = reused
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
    def reused(self) -> int:
        """How many of the first blocks held what they shall hold already."""
        return self._reused

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
        allocate: Makes the memory, of float32 zeros in C order; in host memory if left out.

    Attributes:
        array: float32 `[num_blocks, layers, 2, kv_heads, block_tokens, head_dim]`, C-contiguous, so that it
            can be registered with NIXL as one region and a block is one segment.
        on_release: Called after blocks came back, from the thread that released them.
        on_event: Called when blocks of known prefixes come and go, from the thread that allocates.
    """

    def __init__(
        self,
        layout: KVLayout,
        num_blocks: int,
        layers: Layers | None = None,
        allocate: Callable[[tuple[int, ...]], Any] = page_aligned,
    ) -> None:
        self.layout = layout
        self.layers = layers or Layers(0, layout.layers)
        self.array = allocate((num_blocks, self.layers.count, *layout.layer_shape))
        self.on_release: Callable[[], None] = lambda: None
        self.on_event: Callable[[KVEvent], None] = lambda _: None
        self._free = list(range(num_blocks - 1, -1, -1))
        # How many active and held leases each block is in.
        self._leases = {state: np.zeros(num_blocks, dtype=np.int64) for state in ("active", "held")}
        self._found: dict[Key, int] = {}
        self._keys: dict[int, Key] = {}
        self._unused: OrderedDict[int, None] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def region(self) -> Region:
        """Where the array is in memory."""
        return region_of(self.array)

    @property
    def cache(self) -> CacheLayout:
        """How the array is arranged, in the words of transfers."""
        return self.layout.cache(self.layout.block_tokens, self.num_blocks, self.layers)

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
        return len(self._free) + len(self._unused)

    @property
    def remembered_blocks(self) -> int:
        """Blocks that hold a known prefix, in use or not."""
        return len(self._keys)

    def sums(self, layers: Layers, blocks: Sequence[int], tokens: int) -> tuple[int, ...]:
        """Sum what blocks hold of some of the layers here, one number a layer; see `kv.sums`."""
        here = Layers(layers.first - self.layers.first, layers.end - self.layers.first)
        return layer_sums(self.array, here, blocks, tokens)

    def counts(self) -> BlockCounts:
        """Blocks by state, read at one instant; a block in several leases counts once."""
        with self._lock:
            active = int(np.count_nonzero(self._leases["active"]))
            held = int(np.count_nonzero(self._leases["held"].astype(bool) & (self._leases["active"] == 0)))
            return BlockCounts(self.free_blocks, active, held)

    def allocate(self, tokens: int, prefix: Prefix = NO_PREFIX) -> KVLease:
        """Take the blocks for `tokens` positions, those first that hold the beginning of `prefix` already.

        Raises:
            PoolExhausted: Fewer blocks are free; nothing was taken.
        """
        with self._lock:
            shared = self._shared(prefix)
            waiting = sum(block in self._unused for block in shared)
            fresh = self.layout.blocks_for(tokens) - len(shared)
            self._require_free(fresh, self.free_blocks - waiting)
            for block in shared:
                self._unused.pop(block, None)
            taken, removed = self._take(fresh)
            lease = KVLease(self, (*shared, *taken), tokens, len(shared))
            self._leases["active"][list(lease.blocks)] += 1
        self._tell(removed)
        return lease

    def remember(self, lease: KVLease, prefix: Prefix, blocks: int) -> None:
        """Let others find the first `blocks` blocks of a lease, all computed, by the prefix in them.

        Units of which some is not computed, and blocks whose content is known already, are passed over.
        """
        with self._lock:
            self._require_live(lease)
            stored = list(self._register(lease, prefix, prefix.whole_blocks(blocks)))
        for event in stored:
            self.on_event(event)

    def _shared(self, prefix: Prefix) -> list[int]:
        """Find the blocks that hold the longest known beginning of a prefix, in whole units."""
        known = 0
        while known < len(prefix.keys) and prefix.keys[known] in self._found:
            known += 1
        return [self._found[key] for key in prefix.keys[: prefix.whole_blocks(known)]]

    def _register(self, lease: KVLease, prefix: Prefix, blocks: int) -> Iterator[Stored]:
        """Note what is new, and yield each run of it."""
        size, begin = self.layout.block_tokens, 0
        for index in range(blocks + 1):
            new = index < blocks and self._is_new(lease.blocks[index], prefix.keys[index])
            if new:
                self._found[prefix.keys[index]] = lease.blocks[index]
                self._keys[lease.blocks[index]] = prefix.keys[index]
                continue
            if begin < index:
                parent = prefix.keys[begin - 1] if begin else None
                yield Stored(prefix.tokens[begin * size : index * size], prefix.keys[begin:index], parent)
            begin = index + 1

    def _is_new(self, block: int, key: Key) -> bool:
        return key not in self._found and block not in self._keys

    def _take(self, count: int) -> tuple[tuple[int, ...], list[Key]]:
        """Take free blocks; returns them and the keys by which some of them are found no more."""
        self._require_free(count, self.free_blocks)
        removed = []
        taken = []
        for _ in range(count):
            if self._free:
                taken.append(self._free.pop())
                continue
            block, _ = self._unused.popitem(last=False)
            key = self._keys.pop(block)
            del self._found[key]
            removed.append(key)
            taken.append(block)
        return tuple(taken), removed

    def _tell(self, removed: list[Key]) -> None:
        if removed:
            self.on_event(Removed(tuple(removed)))

    def _grow(self, lease: KVLease, tokens: int) -> None:
        with self._lock:
            self._require_live(lease)
            more, removed = self._take(max(0, self.layout.blocks_for(tokens) - len(lease.blocks)))
            lease._blocks += more
            lease._tokens = max(lease.tokens, tokens)
            self._leases[lease._state][list(more)] += 1
        self._tell(removed)

    def _hold(self, lease: KVLease) -> None:
        with self._lock:
            self._require_live(lease)
            blocks = list(lease.blocks)
            self._leases[lease._state][blocks] -= 1
            lease._state = "held"
            self._leases["held"][blocks] += 1

    def _release(self, lease: KVLease) -> None:
        with self._lock:
            self._require_live(lease)
            self._leases[lease._state][list(lease.blocks)] -= 1
            lease._state = "released"
            # The end of a prompt is of less use than its beginning, and so is given away first.
            for block in reversed(lease.blocks):
                if self._leases["active"][block] or self._leases["held"][block]:
                    continue
                if block in self._keys:
                    self._unused[block] = None
                else:
                    self._free.append(block)
        self.on_release()

    @staticmethod
    def _require_free(count: int, free: int) -> None:
        if count > free:
            raise PoolExhausted(f"{count} KV blocks are needed, {free} are free")

    @staticmethod
    def _require_live(lease: KVLease) -> None:
        if lease.released:
            raise LeaseReleased("this KV lease was released before")
