"""KV transfer between two processes with real NIXL: what arrives, and what a broken peer does."""

import asyncio
import json
import signal
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from disagg_worker.kv import BlockPool, KVLayout, KVLease
from disagg_worker.metrics import WorkerMetrics
from disagg_worker.transfer import PeerLost, Reader, ShapeMismatch, Ticket, TransferTimeout, open_agent

LAYOUT = KVLayout(
    layers=30, kv_heads=3, head_dim=64, block_tokens=16, dtype="float32", model_fingerprint="tested"
)
BLOCKS = 200
OFFERING = str(Path(__file__).with_name("offering_process.py"))


@dataclass
class Here:
    """The reading side, in this process."""

    pool: BlockPool
    reader: Reader
    metrics: WorkerMetrics

    def sample(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
async def here() -> AsyncIterator[Here]:
    pool = BlockPool(LAYOUT, BLOCKS)
    metrics = WorkerMetrics()
    thread = open_agent(f"reader-{uuid.uuid4().hex[:8]}", "UCX", pool.region)

    async def reserve(request_id: str, tokens: int) -> KVLease:
        del request_id
        return pool.allocate(tokens)

    reader = Reader(thread, pool, reserve, timeout_seconds=40.0, metrics=metrics)
    yield Here(pool, reader, metrics)
    await reader.close()
    await asyncio.to_thread(thread.close)


@pytest.fixture
def start_peer(start_child: Callable[[list[str]], Any]) -> Callable[..., Any]:
    def start(layout: KVLayout = LAYOUT, timeout: float = 30.0) -> Any:
        agent = f"peer-0-{uuid.uuid4().hex[:8]}"
        given = ["--layout", json.dumps(asdict(layout)), "--blocks", str(BLOCKS), "--timeout", str(timeout)]
        return start_child([OFFERING, *given, "--peer", "peer-0", "--agent", agent])

    return start


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


async def test_blocks_arrive_and_are_counted(here: Here, start_peer: Callable[..., Any]) -> None:
    peer = start_peer()
    ticket = offered(peer, 1000)
    lease = await here.reader.read("r", ticket, 1000)
    assert contents(here.pool, lease) == [block + 1 for block in ticket.blocks]
    size = 63 * LAYOUT.block_bytes
    lanes = [
        sample.labels["transport"]
        for metric in here.metrics.registry.collect()
        for sample in metric.samples
        if sample.name == "disagg_kv_read_bytes_total" and sample.value == size
    ]
    assert len(lanes) == 1
    assert lanes[0].startswith("tcp/")
    expected = {"free": BLOCKS, "active": 0, "held": 0, "served": size}
    await eventually(lambda: peer.ask({"counts": True}) == expected)


async def test_parallel_reads_keep_apart(here: Here, start_peer: Callable[..., Any]) -> None:
    peer = start_peer()
    tickets = [offered(peer, tokens) for tokens in (1, 15, 16, 17, 160, 333, 500, 700)]
    leases = await asyncio.gather(*(here.reader.read("r", ticket, ticket.tokens) for ticket in tickets))
    for ticket, lease in zip(tickets, leases, strict=True):
        assert contents(here.pool, lease) == [block + 1 for block in ticket.blocks]


async def test_late_bytes_do_not_reach_anyone_else(here: Here, start_peer: Callable[..., Any]) -> None:
    peer = start_peer()
    (await here.reader.read("warm", offered(peer, 16), 16)).release()
    ticket = offered(peer, 1600).model_copy(update={"expires_at": time.time() + 2})
    peer.signal(signal.SIGSTOP)
    with pytest.raises(TransferTimeout, match="did not arrive"):
        await here.reader.read("r", ticket, 1600)
    assert here.sample("disagg_kv_reads_total", outcome="timeout") == 1
    assert here.pool.counts().free == BLOCKS - 100, "the blocks of a READ in flight must not be free"
    other = here.pool.allocate(1600)
    here.pool.array[list(other.blocks)] = -1.0
    peer.signal(signal.SIGCONT)
    await eventually(lambda: here.reader.quarantined == 0)
    assert contents(here.pool, other) == [-1.0] * 100
    other.release()
    assert here.pool.counts().free == BLOCKS
    again = offered(peer, 320)
    assert contents(here.pool, await here.reader.read("r2", again, 320)) == [b + 1 for b in again.blocks]


async def test_peer_killed_during_a_read(here: Here, start_peer: Callable[..., Any]) -> None:
    peer = start_peer()
    (await here.reader.read("warm", offered(peer, 16), 16)).release()
    ticket, stale = offered(peer, 1600), offered(peer, 16)
    peer.signal(signal.SIGSTOP)
    reading = asyncio.create_task(here.reader.read("r", ticket, 1600))
    await asyncio.sleep(0.3)
    peer.signal(signal.SIGKILL)
    with pytest.raises(PeerLost, match="peer-0 was lost"):
        await reading
    await eventually(lambda: here.pool.counts().free == BLOCKS)
    with pytest.raises(PeerLost):
        await here.reader.read("r", stale, 16)

    successor = start_peer()
    fresh = offered(successor, 320)
    assert contents(here.pool, await here.reader.read("r2", fresh, 320)) == [b + 1 for b in fresh.blocks]
    with pytest.raises(PeerLost, match="restarted"):
        await here.reader.read("r3", stale, 16)
    assert here.sample("disagg_kv_reads_total", outcome="peer_lost") == 3


@pytest.mark.parametrize(
    ("changed", "named"),
    [({"block_tokens": 8}, "block_tokens is 8"), ({"model_fingerprint": "x"}, "model_fingerprint is x")],
)
async def test_other_shapes_are_refused_and_given_back(
    here: Here, start_peer: Callable[..., Any], changed: dict[str, Any], named: str
) -> None:
    peer = start_peer(layout=replace(LAYOUT, **changed))
    with pytest.raises(ShapeMismatch, match=named):
        await here.reader.read("r", offered(peer, 100), 100)
    assert here.sample("disagg_kv_reads_total", outcome="shape") == 1
    assert here.pool.counts().free == BLOCKS
    await eventually(lambda: peer.ask({"counts": True})["held"] == 0)


async def test_another_prompt_is_refused_and_given_back(here: Here, start_peer: Callable[..., Any]) -> None:
    peer = start_peer()
    ticket = offered(peer, 100)
    with pytest.raises(ShapeMismatch, match="the prompt has 99"):
        await here.reader.read("r", ticket, 99)
    await eventually(lambda: peer.ask({"counts": True})["held"] == 0)


async def test_offers_that_nobody_reads_expire(here: Here, start_peer: Callable[..., Any]) -> None:
    peer = start_peer(timeout=2.0)
    ticket = offered(peer, 100)
    assert peer.ask({"counts": True})["held"] == 7
    await asyncio.sleep(2.2)
    with pytest.raises(TransferTimeout):
        await here.reader.read("late", ticket, 100)
    unread = offered(peer, 100)
    await eventually(lambda: peer.ask({"counts": True})["held"] == 0)
    assert unread.expires_at < time.time()
