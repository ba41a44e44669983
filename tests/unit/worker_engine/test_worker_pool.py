"""Blocks: none is lost, only known prefixes are in several leases, and each lease is released once."""

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from disagg_worker.kv import (
    NO_PREFIX,
    BlockPool,
    KVEvent,
    KVLayout,
    KVLease,
    LeaseReleased,
    PoolExhausted,
    Prefix,
    Removed,
    Stored,
    prefix_of,
)

LAYOUT = KVLayout(layers=2, kv_heads=3, head_dim=4, block_tokens=5, dtype="float32", model_fingerprint="f")


def test_a_block_is_one_segment_of_a_page_aligned_array() -> None:
    pool = BlockPool(LAYOUT, 7)
    assert pool.array.shape == (7, 2, 2, 3, 5, 4)
    assert pool.array.dtype == np.float32
    assert pool.array.flags.c_contiguous
    assert pool.array.ctypes.data % 4096 == 0
    assert pool.array[1].nbytes == LAYOUT.block_bytes
    assert pool.capacity_tokens == 35


def test_allocate_takes_all_or_nothing() -> None:
    pool = BlockPool(LAYOUT, 3)
    lease = pool.allocate(6)
    assert len(lease.blocks) == 2
    with pytest.raises(PoolExhausted, match="2 KV blocks are needed, 1 are free"):
        pool.allocate(10)
    assert pool.counts() == (1, 2, 0)


def test_a_lease_is_released_exactly_once() -> None:
    pool = BlockPool(LAYOUT, 3)
    lease = pool.allocate(1)
    lease.release()
    for use in (lease.release, lease.hold, lambda: lease.grow(9)):
        with pytest.raises(LeaseReleased):
            use()
    assert pool.counts() == (3, 0, 0)


def test_release_tells_the_listener() -> None:
    pool = BlockPool(LAYOUT, 3)
    told: list[int] = []
    pool.on_release = lambda: told.append(pool.free_blocks)
    pool.allocate(5).release()
    assert told == [3]


def test_a_prefix_names_whole_units_and_leaves_a_token_to_compute() -> None:
    whole = prefix_of(range(30), block_tokens=5, chunk_tokens=10)
    assert (len(whole.keys), whole.unit_blocks) == (4, 2)
    assert prefix_of(range(31), 5, 10).keys[:4] == whole.keys
    assert len(prefix_of(range(31), 5, 10).keys) == 6
    other = prefix_of([*range(5), 99, *range(6, 31)], 5, 10)
    assert other.keys[0] == whole.keys[0]
    assert not set(other.keys[1:]) & set(whole.keys)
    # A chunk that ends within a block is of no use before both end together.
    assert prefix_of(range(31), 5, 6).unit_blocks == 6


def test_a_prefix_is_shared_from_its_computation_until_it_is_overwritten() -> None:
    pool = BlockPool(LAYOUT, 6)
    events: list[KVEvent] = []
    pool.on_event = events.append
    prefix = prefix_of(range(11), 5, 5)
    first = pool.allocate(11, prefix)
    assert first.reused == 0
    pool.remember(first, prefix, 1)
    pool.remember(first, prefix, 3)
    assert events == [
        Stored(tuple(range(5)), prefix.keys[:1], None),
        Stored(tuple(range(5, 10)), prefix.keys[1:], prefix.keys[0]),
    ]
    second = pool.allocate(11, prefix)
    assert (second.reused, second.blocks[:2]) == (2, first.blocks[:2])
    assert second.blocks[2] != first.blocks[2]
    assert pool.counts() == (2, 4, 0)
    for lease in (first, second):
        lease.release()
    assert (pool.counts().free, pool.remembered_blocks) == (6, 2)
    # Free blocks without a known content go first, then the end of the prefix.
    pool.allocate(25).release()
    assert events[2:] == [Removed((prefix.keys[1],))]
    assert pool.allocate(11, prefix).reused == 1


def test_the_same_prompt_computed_twice_is_remembered_once() -> None:
    pool = BlockPool(LAYOUT, 6)
    prefix = prefix_of(range(11), 5, 5)
    leases = [pool.allocate(11, prefix) for _ in range(2)]
    for lease in leases:
        pool.remember(lease, prefix, 2)
    assert pool.remembered_blocks == 2
    for lease in leases:
        lease.release()
    assert pool.counts() == (6, 0, 0)


PREFIXES = [prefix_of(tokens, 5, chunk) for chunk in (5, 10) for tokens in ([1] * 16, [1] * 5 + [2] * 11)]


class PoolMachine(RuleBasedStateMachine):
    """Random calls against a model that only remembers which leases live."""

    leases: Bundle[KVLease] = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.pool = BlockPool(LAYOUT, 6)
        self.live: list[KVLease] = []
        self.held: set[int] = set()
        self.known: set[bytes] = set()
        self.content: dict[int, bytes] = {}
        self.pool.on_event = self._hear

    def _hear(self, event: KVEvent) -> None:
        keys = set(event.keys)
        if isinstance(event, Stored):
            assert not keys & self.known
            self.known |= keys
        else:
            assert keys <= self.known
            self.known -= keys

    @rule(target=leases, tokens=st.integers(1, 15))
    def allocate(self, tokens: int) -> KVLease:
        return self._allocate(tokens, NO_PREFIX)

    @rule(target=leases, prefix=st.sampled_from(PREFIXES), computed=st.integers(0, 3))
    def allocate_for_a_prompt(self, prefix: Prefix, computed: int) -> KVLease:
        lease = self._allocate(len(prefix.tokens) + 1, prefix)
        for block, key in zip(lease.blocks[: lease.reused], prefix.keys, strict=False):
            assert self.content[block] == key, "a shared block holds something else"
        fresh = range(lease.reused, min(max(computed, lease.reused), len(prefix.keys), len(lease.blocks)))
        for index in fresh:
            self.content[lease.blocks[index]] = prefix.keys[index]
        if lease.blocks:
            self.pool.remember(lease, prefix, lease.reused + len(fresh))
        return lease

    def _allocate(self, tokens: int, prefix: Prefix) -> KVLease:
        try:
            lease = self.pool.allocate(tokens, prefix)
        except PoolExhausted:
            assert LAYOUT.blocks_for(tokens) > self.pool.free_blocks
            lease = self.pool.allocate(0)
        for block in lease.blocks[lease.reused :]:
            assert not any(block in other.blocks for other in self.live)
            self.content.pop(block, None)
        self.live.append(lease)
        return lease

    @rule(lease=leases, tokens=st.integers(1, 15))
    def grow(self, lease: KVLease, tokens: int) -> None:
        before = lease.blocks
        try:
            lease.grow(tokens)
        except PoolExhausted:
            assert lease.blocks == before
        else:
            assert lease.blocks[: len(before)] == before
            for block in lease.blocks[len(before) :]:
                self.content.pop(block, None)
            assert len(lease.blocks) >= LAYOUT.blocks_for(tokens)

    @rule(lease=leases)
    def hold(self, lease: KVLease) -> None:
        lease.hold()
        self.held.add(id(lease))

    @rule(lease=consumes(leases))
    def release(self, lease: KVLease) -> None:
        lease.release()
        self.live.remove(lease)

    @invariant()
    def every_block_is_in_one_state(self) -> None:
        held = {block for lease in self.live if id(lease) in self.held for block in lease.blocks}
        active = {block for lease in self.live if id(lease) not in self.held for block in lease.blocks}
        assert self.pool.counts() == (6 - len(held | active), len(active), len(held - active))

    @invariant()
    def what_is_known_was_told(self) -> None:
        assert self.pool.remembered_blocks == len(self.known)


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(max_examples=60, stateful_step_count=30)
