"""Paged KV cache: the shape of blocks and the pool that hands them out."""

from disagg_worker.kv.layout import KVLayout
from disagg_worker.kv.pool import BlockCounts, BlockPool, KVLease, LeaseReleased, PoolExhausted

__all__ = ["BlockCounts", "BlockPool", "KVLayout", "KVLease", "LeaseReleased", "PoolExhausted"]
