"""Where several ranks share the layers, the first one decides, and nothing ends before all ranks are done."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from disagg_worker.engine import Prefilled
from disagg_worker.kv import KVLayout, KVLease
from disagg_worker.layers import Layers
from disagg_worker.transfer import Reader, ShapeMismatch, Source, Ticket, TransferTimeout
from disagg_worker.transfer.fetcher import Order
from disagg_worker.transfer.ticket import Part


def part(name: str, first: int, end: int) -> Part:
    return Part.model_construct(
        peer=name,
        incarnation="one",
        started_at=1.0,
        agent=name,
        agent_metadata=name.encode(),
        base_address=1 << 20,
        pool_blocks=16,
        slot_bytes=4096,
        layers=Layers(first, end),
    )


@dataclass
class FakeRank:
    """FAKE of another rank: what it is asked for ends when the test says so."""

    part: Part = field(default_factory=lambda: part("rank-1", 1, 2))
    opened_leases: dict[str, asyncio.Event] = field(default_factory=dict)
    shut_leases: list[str] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    fault: Exception | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def sums(self, blocks: Sequence[int], tokens: int) -> tuple[int, ...]:
        assert (len(blocks), tokens) == (3, 10)
        return (7,)

    async def opened(self, lease: str, blocks: Sequence[int], tokens: int) -> None:
        assert (len(blocks), tokens) == (3, 10)
        self.opened_leases[lease] = asyncio.Event()
        await self.opened_leases[lease].wait()

    def shut(self, lease: str) -> None:
        self.shut_leases.append(lease)

    async def fetch(self, order: Order) -> None:
        self.orders.append(order)
        if self.fault:
            raise self.fault

    async def finished(self, lease: str) -> None:
        assert lease == "lease-1"
        await self.over.wait()


async def eventually(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until, "not in time"
        await asyncio.sleep(0.01)


async def offered(bench: Any, rank: FakeRank) -> tuple[Source, Ticket]:
    source = Source(bench.link, "rank-0", 60.0, bench.metrics, others=[rank])
    lease = bench.pool.allocate(10)
    lease.hold()
    ticket = await source.offer("r", Prefilled(3, lease))
    await eventually(lambda: ticket.lease in rank.opened_leases)
    return source, ticket


async def test_a_ticket_tells_what_the_blocks_of_all_ranks_hold(bench: Any) -> None:
    rank = FakeRank()
    source, ticket = await offered(bench, rank)
    own = bench.pool.sums(bench.pool.layers, ticket.blocks, 10)
    assert ticket.sums == (*own, 7)
    await source.close()


@pytest.mark.parametrize("own_first", [True, False])
async def test_an_offer_ends_once_all_ranks_were_read(bench: Any, own_first: bool) -> None:
    rank = FakeRank()
    source, ticket = await offered(bench, rank)
    assert [each.peer for each in ticket.parts] == ["rank-0", "rank-1"]

    async def own() -> None:
        bench.agent.incoming.append(f"kv1 read {ticket.lease} 2".encode())
        await eventually(lambda: bench.sample("disagg_kv_served_bytes_total") > 0)

    async def other() -> None:
        rank.opened_leases[ticket.lease].set()
        await asyncio.sleep(0.05)

    first, second = (own, other) if own_first else (other, own)
    await first()
    assert source.open_offers == 1
    await second()
    await eventually(lambda: source.open_offers == 0)
    assert bench.pool.counts().free == 16
    assert not rank.shut_leases
    await source.close()


async def test_several_readers_may_share_the_layers_of_one_rank(bench: Any) -> None:
    source = Source(bench.link, "rank-0", 60.0, bench.metrics)
    lease = bench.pool.allocate(10)
    lease.hold()
    ticket = await source.offer("r", Prefilled(3, lease))
    note = f"kv1 read {ticket.lease} 1".encode()
    bench.agent.incoming.append(note)
    await eventually(lambda: not bench.agent.incoming)
    await asyncio.sleep(0.05)
    assert source.open_offers == 1
    bench.agent.incoming.append(note)
    await eventually(lambda: source.open_offers == 0)
    assert bench.sample("disagg_kv_served_bytes_total") == 3 * bench.pool.block_bytes
    await source.close()


async def test_a_refused_offer_is_shut_on_all_ranks(bench: Any) -> None:
    rank = FakeRank()
    source, ticket = await offered(bench, rank)
    bench.agent.incoming.append(f"kv1 refuse {ticket.lease}".encode())
    await eventually(lambda: rank.shut_leases == [ticket.lease])
    assert bench.pool.counts().free == 16
    await source.close()


def reader(bench: Any, rank: FakeRank) -> Reader:
    async def reserve(request_id: str, tokens: int) -> KVLease:
        del request_id
        lease: KVLease = bench.pool.allocate(tokens)
        return lease

    return Reader(bench.link, reserve, timeout_seconds=40.0, metrics=bench.metrics, others=[rank])


async def test_all_ranks_read_the_same_blocks(bench: Any) -> None:
    rank = FakeRank()
    reading = reader(bench, rank)
    lease = await reading.read("r", bench.ticket(sums=[0, 0]), 10)
    (order,) = rank.orders
    assert (order.local, order.remote, order.sums) == (lease.blocks, (4, 5, 6), (0, 0))
    assert Order.model_validate(order.model_dump(mode="json")) == order
    lease.release()
    await reading.close()


async def test_blocks_are_kept_until_the_reads_of_all_ranks_are_over(bench: Any) -> None:
    rank = FakeRank(fault=TransferTimeout("too late"))
    reading = reader(bench, rank)
    with pytest.raises(TransferTimeout, match="too late"):
        await reading.read("r", bench.ticket(), 10)
    assert reading.quarantined == 1
    await asyncio.sleep(0.1)
    assert bench.pool.counts().free == 13
    rank.over.set()
    await eventually(lambda: bench.pool.counts().free == 16)
    await reading.close()


@pytest.mark.parametrize("layers", [[(0, 1)], [(0, 1), (0, 2)], [(1, 2), (0, 1)], [(0, 1), (1, 1), (1, 2)]])
def test_a_ticket_must_tell_of_every_layer_once(bench: Any, layers: list[tuple[int, int]]) -> None:
    parts = tuple(part(f"rank-{rank}", *each) for rank, each in enumerate(layers))
    ticket = bench.ticket().model_copy(update={"parts": parts})
    layout: KVLayout = bench.pool.layout
    with pytest.raises(ShapeMismatch, match="the model has 2, and each is to be there once"):
        ticket.require_fit(layout, 10)
