"""The reader's decisions, on a fake agent (real NIXL: tests/integration/worker)."""

import asyncio
import base64
import time
from collections.abc import Callable
from typing import Any

import pytest

from disagg_worker.kv import KVLease, PoolExhausted
from disagg_worker.transfer import (
    Damaged,
    NoRoom,
    PeerLost,
    PeerSilent,
    Reader,
    ShapeMismatch,
    TransferTimeout,
    peers,
)


def reborn(bench: Any, incarnation: str, started_at: float) -> Any:
    name = f"prefill-0-{incarnation}"
    return bench.ticket(
        incarnation=incarnation,
        started_at=started_at,
        agent=name,
        agent_metadata=base64.b64encode(name.encode()).decode(),
    )


async def eventually(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not true():
        assert time.monotonic() < until, "not in time"
        await asyncio.sleep(0.01)


async def test_one_read_of_merged_blocks(bench: Any) -> None:
    lease = await bench.reader.read("r", bench.ticket(), 10)
    size = bench.pool.layout.block_bytes
    ((peer, spans, note),) = bench.agent.reads
    assert (peer, note) == ("prefill-0-one", b"kv1 read lease-1 2")
    assert [(span.remote, span.length) for span in spans] == [(4096 + 4 * size, 3 * size)]
    assert bench.agent.released == 1
    assert bench.pool.counts().active == 3
    assert bench.sample("disagg_kv_read_bytes_total", backend="UCX", transport="unknown") == 3 * size
    lease.release()


async def test_one_connection_for_each_incarnation(bench: Any) -> None:
    for _ in range(3):
        await bench.reader.read("r", bench.ticket(), 10)
    assert bench.agent.connected == ["prefill-0-one"]
    await bench.reader.read("r", reborn(bench, "two", 200.0), 10)
    assert bench.agent.connected == ["prefill-0-one", "prefill-0-two"]
    assert bench.agent.disconnected == ["prefill-0-one"]
    with pytest.raises(PeerLost, match="restarted"):
        await bench.reader.read("r", bench.ticket(), 10)
    assert len(bench.agent.reads) == 4


async def test_a_late_read_keeps_its_blocks(bench: Any) -> None:
    bench.agent.done = False
    with pytest.raises(TransferTimeout):
        await bench.reader.read("r", bench.ticket(expires_at=time.time() + 1.5), 10)
    assert bench.reader.quarantined == 1
    assert bench.pool.counts().free == 13
    assert bench.agent.released == 0
    bench.agent.done = True
    await eventually(lambda: bench.reader.quarantined == 0)
    assert bench.pool.counts().free == 16
    assert bench.agent.released == 1
    assert bench.sample("disagg_kv_reads_total", outcome="timeout") == 1


async def test_a_read_that_ends_after_its_ticket_is_not_used(bench: Any) -> None:
    with pytest.raises(TransferTimeout):
        await bench.reader.read("r", bench.ticket(expires_at=1.0), 10)
    await eventually(lambda: bench.pool.counts().free == 16)


async def test_a_cancelled_request_keeps_its_blocks_until_the_read_is_over(bench: Any) -> None:
    bench.agent.done = False
    reading = asyncio.create_task(bench.reader.read("r", bench.ticket(expires_at=4e9), 10))
    await eventually(lambda: bool(bench.agent.reads))
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert bench.pool.counts().free == 13
    bench.agent.done = True
    await eventually(lambda: bench.pool.counts().free == 16)


async def test_a_lost_peer_is_connected_anew(bench: Any) -> None:
    bench.agent.broken = True
    with pytest.raises(PeerLost, match="prefill-0 was lost"):
        await bench.reader.read("r", bench.ticket(), 10)
    await eventually(lambda: bench.pool.counts().free == 16)
    await eventually(lambda: bench.agent.disconnected == ["prefill-0-one"])
    bench.agent.broken = False
    await bench.reader.read("r", bench.ticket(), 10)
    assert bench.agent.connected == ["prefill-0-one"] * 2


async def test_a_peer_whose_read_is_overdue_is_not_asked_until_that_is_over(bench: Any) -> None:
    bench.agent.done = False
    with pytest.raises(TransferTimeout):
        await bench.reader.read("r", bench.ticket(expires_at=time.time() + 0.2), 10)
    for _ in range(3):
        with pytest.raises(PeerSilent, match="prefill-0 has not delivered"):
            await bench.reader.read("r", bench.ticket(), 10)
    assert len(bench.agent.reads) == 1
    assert bench.pool.counts().free == 13, "further requests keep no blocks"
    assert bench.sample("disagg_kv_reads_total", outcome="peer_silent") == 3
    other = bench.ticket(
        peer="prefill-1", agent="prefill-1-one", agent_metadata=base64.b64encode(b"prefill-1-one").decode()
    )
    reading = asyncio.create_task(bench.reader.read("r", other, 10))
    await eventually(lambda: len(bench.agent.reads) == 2)
    bench.agent.done = True
    (await reading).release()
    await eventually(lambda: bench.reader.quarantined == 0)
    (await bench.reader.read("r", bench.ticket(), 10)).release()
    assert bench.pool.counts().free == 16


async def test_a_peer_that_broke_while_overdue_is_connected_anew(bench: Any) -> None:
    bench.agent.done = False
    with pytest.raises(TransferTimeout):
        await bench.reader.read("r", bench.ticket(expires_at=time.time() + 0.2), 10)
    bench.agent.broken = True
    await eventually(lambda: bench.reader.quarantined == 0)
    bench.agent.broken, bench.agent.done = False, True
    (await bench.reader.read("r", bench.ticket(), 10)).release()
    assert bench.agent.connected == ["prefill-0-one"] * 2
    assert bench.pool.counts().free == 16


async def test_a_peer_that_cannot_be_reached_is_left_alone_for_a_while(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.agent.unreachable = True
    with pytest.raises(PeerLost, match="cannot be reached"):
        await bench.reader.read("r", bench.ticket(), 10)
    bench.agent.unreachable = False
    with pytest.raises(PeerSilent, match="prefill-0 could not be reached"):
        await bench.reader.read("r", bench.ticket(), 10)
    assert bench.agent.connected == []
    (await bench.reader.read("r", reborn(bench, "two", 200.0), 10)).release()
    bench.agent.unreachable = True
    with pytest.raises(PeerLost, match="cannot be reached"):
        await bench.reader.read("r", reborn(bench, "three", 300.0), 10)
    monkeypatch.setattr(peers, "AGAIN_SECONDS", 0.0)
    bench.agent.unreachable = False
    (await bench.reader.read("r", reborn(bench, "three", 300.0), 10)).release()


async def test_a_client_that_leaves_makes_no_peer_silent(bench: Any) -> None:
    bench.agent.done = False
    reading = asyncio.create_task(bench.reader.read("r", bench.ticket(), 10))
    await eventually(lambda: bool(bench.agent.reads))
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    again = asyncio.create_task(bench.reader.read("r", bench.ticket(), 10))
    await eventually(lambda: len(bench.agent.reads) == 2)
    bench.agent.done = True
    (await again).release()
    await eventually(lambda: bench.pool.counts().free == 16)


async def test_what_does_not_fit_is_refused_to_its_issuer(bench: Any) -> None:
    with pytest.raises(ShapeMismatch):
        await bench.reader.read("r", bench.ticket(tokens=20), 20)
    assert bench.agent.sent == [("prefill-0-one", b"kv1 refuse lease-1")]
    assert not bench.agent.reads
    assert bench.sample("disagg_kv_reads_total", outcome="shape") == 1


async def test_no_room_in_time_is_refused_to_the_issuer(bench: Any) -> None:
    async def never(request_id: str, tokens: int) -> KVLease:
        await asyncio.sleep(60)
        raise PoolExhausted(f"{request_id} {tokens}")

    reader = Reader(bench.link, never, timeout_seconds=1.0, metrics=bench.metrics)
    with pytest.raises(NoRoom, match="no KV blocks became free"):
        await reader.read("r", bench.ticket(), 10)
    assert bench.agent.sent == [("prefill-0-one", b"kv1 refuse lease-1")]


async def test_what_is_not_what_was_offered_is_not_used(bench: Any) -> None:
    counter = ("disagg_kv_reads_total", {"outcome": "damaged"})
    assert bench.metrics.registry.get_sample_value(*counter) == 0.0, "an alert sees it rise from there"
    with pytest.raises(
        Damaged, match="from prefill worker prefill-0 is not what it offered: layers 1 differ"
    ):
        await bench.reader.read("r", bench.ticket(sums=[0, 5]), 10)
    await eventually(lambda: bench.reader.quarantined == 0)
    assert bench.pool.counts().free == 16
    assert bench.sample("disagg_kv_reads_total", outcome="damaged") == 1
    (await bench.reader.read("r", bench.ticket(sums=[0, 0]), 10)).release()
    assert bench.agent.connected == ["prefill-0-one"], "the connection is not to blame"


async def test_nothing_is_compared_where_that_is_not_wanted(bench: Any) -> None:
    async def reserve(request_id: str, tokens: int) -> KVLease:
        del request_id
        lease: KVLease = bench.pool.allocate(tokens)
        return lease

    reader = Reader(bench.link, reserve, timeout_seconds=40.0, metrics=bench.metrics, check=False)
    (await reader.read("r", bench.ticket(sums=[0, 5]), 10)).release()
    await reader.close()
