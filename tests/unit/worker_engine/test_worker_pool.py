"""Blocks: none is lost, none is in two leases, and each lease is released once."""

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from disagg_worker.kv import BlockPool, KVLayout, KVLease, LeaseReleased, PoolExhausted

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


class PoolMachine(RuleBasedStateMachine):
    """Random calls against a model that only remembers which leases live."""

    leases: Bundle[KVLease] = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.pool = BlockPool(LAYOUT, 6)
        self.live: list[KVLease] = []
        self.held: set[int] = set()

    @rule(target=leases, tokens=st.integers(1, 15))
    def allocate(self, tokens: int) -> KVLease:
        try:
            lease = self.pool.allocate(tokens)
        except PoolExhausted:
            assert LAYOUT.blocks_for(tokens) > self.pool.free_blocks
            lease = self.pool.allocate(0)
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
    def every_block_is_in_one_place(self) -> None:
        owned = [block for lease in self.live for block in lease.blocks]
        assert len(owned) == len(set(owned))
        free, active, held = self.pool.counts()
        assert free + len(owned) == 6
        assert held == sum(len(lease.blocks) for lease in self.live if id(lease) in self.held)
        assert active == len(owned) - held


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(max_examples=40, stateful_step_count=30)
