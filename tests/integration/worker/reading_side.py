"""The reading side of KV transfers, without a model, and owners in processes of their own, over real NIXL."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from disagg_worker.config import StagingSection
from disagg_worker.kv import BlockPool, KVLayout, KVLease
from disagg_worker.metrics import WorkerMetrics
from disagg_worker.transfer import Link, Reader, Ticket, open_link

LAYOUT = KVLayout(
    layers=30, kv_heads=3, head_dim=64, block_tokens=16, dtype="float32", model_fingerprint="tested"
)
BLOCKS = 200
OFFERING = str(Path(__file__).with_name("offering_process.py"))


@dataclass
class Here:
    """The reading side, in this process."""

    link: Link
    reader: Reader
    metrics: WorkerMetrics

    @property
    def pool(self) -> BlockPool:
        return self.link.pool

    def sample(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def reading_side(staging: StagingSection | None = None) -> AsyncIterator[Here]:
    """Open a pool to read into."""
    pool = BlockPool(LAYOUT, BLOCKS)
    metrics = WorkerMetrics()
    link = open_link(f"reader-{uuid.uuid4().hex[:8]}", "UCX", pool, staging or StagingSection())

    async def reserve(request_id: str, tokens: int) -> KVLease:
        del request_id
        return pool.allocate(tokens)

    reader = Reader(link, reserve, timeout_seconds=40.0, metrics=metrics)
    yield Here(link, reader, metrics)
    await reader.close()
    await asyncio.to_thread(link.thread.close)


def start_owner(
    start_child: Callable[[list[str]], Any], layout: KVLayout = LAYOUT, timeout: float = 30.0
) -> Any:
    """Start a process that offers blocks."""
    agent = f"peer-0-{uuid.uuid4().hex[:8]}"
    given = ["--layout", json.dumps(asdict(layout)), "--blocks", str(BLOCKS), "--timeout", str(timeout)]
    return start_child([OFFERING, *given, "--peer", "peer-0", "--agent", agent])


def offered(peer: Any, tokens: int) -> Ticket:
    return Ticket.parse(peer.ask({"offer": tokens}))


def contents(pool: BlockPool, lease: KVLease) -> list[float]:
    """The number each block is filled with; fails if a block holds different numbers."""
    blocks = [pool.array[block] for block in lease.blocks]
    assert all(np.all(block == block.flat[0]) for block in blocks)
    return [float(block.flat[0]) for block in blocks]


async def eventually(true: Callable[[], bool], seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "not in time"
        await asyncio.sleep(0.05)
