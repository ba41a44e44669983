"""Offers end exactly once: read, refused, withdrawn or expired (on a fake agent)."""

import asyncio
import time
from typing import Any

import pytest

from disagg_worker.engine import Prefilled
from disagg_worker.transfer import Source
from disagg_worker.transfer import source as source_module
from disagg_worker.transfer.outlet import Outlet


@pytest.fixture
def source(bench: Any) -> Source:
    return Source(bench.link, "prefill-0", 0.5, bench.metrics)


async def offer(bench: Any, source: Source) -> Any:
    lease = bench.pool.allocate(10)
    lease.hold()
    return await source.offer("r", Prefilled(3, lease))


async def test_the_ticket_describes_the_blocks(bench: Any, source: Source) -> None:
    ticket = await offer(bench, source)
    ticket.require_fit(bench.pool.layout, 10)
    assert ticket.parts[0].base_address == bench.pool.array.ctypes.data
    assert (ticket.peer, ticket.parts[0].agent, ticket.first_token) == ("prefill-0", "fake", 3)
    await source.close()
    assert bench.pool.counts().free == 16


@pytest.mark.parametrize(("note", "served_blocks"), [("kv1 read {} 2", 3), ("kv1 refuse {}", 0)])
async def test_the_readers_note_ends_it(bench: Any, source: Source, note: str, served_blocks: int) -> None:
    ticket = await offer(bench, source)
    bench.agent.incoming += [note.format(lease).encode() for lease in (ticket.lease, "unknown")] + [b"noise"]
    async with asyncio.timeout(20):
        while bench.pool.counts().free < 16:  # noqa: ASYNC110 - the source has no event to wait for
            await asyncio.sleep(0.01)
    assert source.open_offers == 0
    assert bench.pool.counts().free == 16
    assert bench.sample("disagg_kv_served_bytes_total") == served_blocks * bench.pool.layout.block_bytes
    bench.agent.incoming.append(note.format(ticket.lease).encode())
    await source.close()


async def test_it_outlives_its_ticket_by_the_grace(
    bench: Any, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "GRACE_SECONDS", 1.0)
    ticket = await offer(bench, source)
    while bench.pool.counts().held:  # noqa: ASYNC110 - the source has no event to wait for
        await asyncio.sleep(0.01)
    assert time.time() > ticket.expires_at + 1.0
    assert bench.pool.counts().free == 16
    await source.close()


async def test_withdrawal_frees_at_once(bench: Any, source: Source) -> None:
    ticket = await offer(bench, source)
    source.withdraw(ticket.lease)
    source.withdraw(ticket.lease)
    assert bench.pool.counts().free == 16
    await source.close()


async def test_a_reader_may_be_done_before_its_offer_is_opened_here(bench: Any) -> None:
    """Ranks beside the first one hear of an offer later than its reader may."""
    outlet = Outlet(bench.link, "prefill-0", 60.0, bench.metrics)
    read: list[str] = []
    looks: list[None] = []
    outlet.on_read = read.append
    outlet.on_look = lambda: looks.append(None)
    await outlet.open("another", [0], 1)
    bench.agent.incoming += [b"kv1 read early 1", b"kv1 read early 1", b"kv1 read late 1"]
    async with asyncio.timeout(20):
        while bench.agent.incoming:  # noqa: ASYNC110 - the outlet has no event to wait for
            await asyncio.sleep(0.01)
        looks.clear()
        while len(looks) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert read == []
    await outlet.open("early", [1, 2, 3], 10)
    async with asyncio.timeout(20):
        while read != ["early"]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert bench.sample("disagg_kv_served_bytes_total") == 3 * bench.pool.block_bytes
    await outlet.close()
