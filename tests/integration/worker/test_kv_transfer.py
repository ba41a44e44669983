"""KV transfer between two processes with real NIXL: what arrives, and what a broken peer does."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from disagg_worker.transfer import Damaged, PeerLost, ShapeMismatch, TransferTimeout
from integration.worker.reading_side import (
    BLOCKS,
    LAYOUT,
    Here,
    contents,
    eventually,
    offered,
    reading_side,
    start_owner,
)


@pytest.fixture
async def here() -> AsyncIterator[Here]:
    async with reading_side() as opened:
        yield opened


@pytest.fixture
def start_peer(start_child: Callable[[list[str]], Any]) -> Callable[..., Any]:
    return partial(start_owner, start_child)


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


async def test_bytes_that_are_not_those_offered_are_noticed(
    here: Here, start_peer: Callable[..., Any]
) -> None:
    peer = start_peer()
    ticket = offered(peer, 1000)
    assert len(ticket.sums) == LAYOUT.layers
    peer.ask({"spoil": ticket.blocks[17]})
    with pytest.raises(Damaged, match="layers 29 differ"):
        await here.reader.read("r", ticket, 1000)
    assert here.sample("disagg_kv_reads_total", outcome="damaged") == 1
    await eventually(lambda: here.pool.counts().free == BLOCKS)
    await eventually(lambda: peer.ask({"counts": True})["held"] == 0)
    (await here.reader.read("r", offered(peer, 100), 100)).release()


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
    [
        ({"dtype": "float16"}, "dtype is float16 there and float32 here"),
        ({"model_fingerprint": "x"}, "model_fingerprint is x"),
    ],
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
