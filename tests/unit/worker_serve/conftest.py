"""Fakes for the worker's transfer tests. The real NIXL is tested in tests/integration/worker."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pytest

from disagg_worker.kv import BlockPool, KVLayout, KVLease
from disagg_worker.kv.mover import NumpyMover
from disagg_worker.metrics import WorkerMetrics
from disagg_worker.transfer import Link, PeerLost, Reader, Ticket
from disagg_worker.transfer.agent import AgentThread, Span
from disagg_worker.transfer.staged import Slots, Store
from disagg_worker.transfer.staged.cost import HOST_COST

LAYOUT = KVLayout(
    layers=2, kv_heads=1, head_dim=4, block_tokens=4, dtype="float32", model_fingerprint="tested"
)


@dataclass
class FakeAgent:
    """FAKE of NIXL: READs end when the test says so; nothing is moved."""

    name: str = "fake"
    backend: str = "UCX"
    connected: list[str] = field(default_factory=list)
    disconnected: list[str] = field(default_factory=list)
    reads: list[tuple[str, Sequence[Span], bytes]] = field(default_factory=list)
    sent: list[tuple[str, bytes]] = field(default_factory=list)
    incoming: list[bytes] = field(default_factory=list)
    released: int = 0
    done: bool = True
    broken: bool = False
    unreachable: bool = False

    def metadata(self) -> bytes:
        return b"metadata"

    def connect(self, metadata: bytes) -> str:
        if self.unreachable:
            raise PeerLost("the prefill worker cannot be reached")
        self.connected.append(metadata.decode())
        return metadata.decode()

    def disconnect(self, peer: str) -> None:
        self.disconnected.append(peer)

    def read(self, peer: str, gpu: int | None, spans: Sequence[Span], note: bytes) -> object:
        assert gpu is None
        self.reads.append((peer, spans, note))
        return len(self.reads)

    def is_done(self, handle: object) -> bool:
        del handle
        if self.broken:
            raise PeerLost("broken")
        return self.done

    def release(self, handle: object) -> None:
        del handle
        self.released += 1

    def notify(self, peer: str, note: bytes) -> None:
        self.sent.append((peer, note))

    def notes(self) -> list[bytes]:
        notes, self.incoming = self.incoming, []
        return notes


@dataclass
class Bench:
    """A reader on a fake agent."""

    agent: FakeAgent
    link: Link
    pool: BlockPool
    metrics: WorkerMetrics
    reader: Reader

    def ticket(self, **changes: Any) -> Ticket:
        """A ticket of a worker of one rank; changes are fields of it or of its part."""
        part: dict[str, Any] = {
            "peer": "prefill-0",
            "incarnation": "one",
            "started_at": 100.0,
            "agent": "prefill-0-one",
            "agent_metadata": "cHJlZmlsbC0wLW9uZQ==",
            "base_address": 4096,
            "pool_blocks": 16,
            "slot_bytes": 4096,
            "layers": {"first": 0, "end": 2},
        }
        values: dict[str, Any] = {
            "lease": "lease-1",
            "layout": asdict(LAYOUT),
            "blocks": [4, 5, 6],
            "tokens": 10,
            "first_token": 3,
            "expires_at": 4e9,
        }
        part |= {key: value for key, value in changes.items() if key in part}
        own = {key: value for key, value in changes.items() if key not in part}
        return Ticket.parse(values | {"parts": [part]} | own)

    def sample(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    agent = FakeAgent()
    thread = AgentThread(lambda: agent)
    pool, metrics = BlockPool(LAYOUT, 16), WorkerMetrics()

    async def reserve(request_id: str, tokens: int) -> KVLease:
        del request_id
        return pool.allocate(tokens)

    slots = Slots(np.zeros(8192, dtype=np.uint8), 2)
    link = Link(thread, pool, Store(agent, pool.array, pool.cache, NumpyMover(), slots), HOST_COST)
    reader = Reader(link, reserve, timeout_seconds=40.0, metrics=metrics)
    yield Bench(agent, link, pool, metrics, reader)
    await reader.close()
    await asyncio.to_thread(thread.close)
