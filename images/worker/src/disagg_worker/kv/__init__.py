"""Paged KV cache: the shape of blocks and the pool that hands them out."""

from disagg_worker.kv.layout import KVLayout
from disagg_worker.kv.pool import BlockCounts, BlockPool, KVLease, LeaseReleased, PoolExhausted
from disagg_worker.kv.prefix import NO_PREFIX, KVEvent, Prefix, Removed, Stored, number, prefix_of

__all__ = [
    "NO_PREFIX",
    "BlockCounts",
    "BlockPool",
    "KVEvent",
    "KVLayout",
    "KVLease",
    "LeaseReleased",
    "PoolExhausted",
    "Prefix",
    "Removed",
    "Stored",
    "number",
    "prefix_of",
]
