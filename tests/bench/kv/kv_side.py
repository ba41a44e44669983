"""One side of a KV read: `source` offers blocks, `reader` reads them and tells how long that took.

It runs here or in a pod of the worker's image, so it imports the worker alone. Its second argument is
`row` for blocks in a row, or `scattered` for blocks in random order, as after long service.

A source answers each line of its input with a ticket, until it is ended. A reader connects with the first
ticket and lets the second stand unread, which keeps the source attentive. Each later one is answered with the
bytes and the seconds of two reads of as many: `ours` is all that a decode worker does (check the ticket,
reserve blocks, merge neighbours, read, count), `raw` is one READ of one piece between the same two agents.
"""

import asyncio
import json
import random
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from disagg_worker.config import StagingSection
from disagg_worker.engine import Prefilled
from disagg_worker.kv import BlockPool, KVLayout, KVLease
from disagg_worker.metrics import WorkerMetrics
from disagg_worker.transfer import Reader, Source, Ticket, open_link
from disagg_worker.transfer.agent import AgentThread, Span

LAYERS, KV_HEADS, HEAD_DIM, BLOCK_TOKENS = 30, 3, 64, 16  # SmolLM2-135M
BLOCKS = 256
TOKENS = 2000
OFFER_SECONDS = 600


def make_pool(*, scattered: bool) -> BlockPool:
    """Make a pool that hands out blocks in order, or in random order."""
    pool = BlockPool(KVLayout(LAYERS, KV_HEADS, HEAD_DIM, BLOCK_TOKENS, "float32", "bench"), BLOCKS)
    pool.array.fill(1.0)
    leases = [pool.allocate(BLOCK_TOKENS) for _ in range(BLOCKS)]
    if scattered:
        random.Random(1).shuffle(leases)  # noqa: S311 - repeatable, not secret
    else:
        leases.reverse()
    for lease in leases:
        lease.release()
    return pool


async def offer(pool: BlockPool) -> None:
    """Be the source."""
    link = open_link(f"source-{uuid.uuid4().hex[:8]}", "UCX", pool, StagingSection())
    source = Source(link, "source", OFFER_SECONDS, WorkerMetrics())
    freed = asyncio.Event()
    pool.on_release = freed.set
    while await _asked():
        while pool.free_blocks < pool.layout.blocks_for(TOKENS):
            freed.clear()
            await freed.wait()  # the note that the last offer was read is on its way
        _answer((await source.offer("bench", Prefilled(0, pool.allocate(TOKENS)))).to_json())


async def read(pool: BlockPool) -> None:
    """Be the reader."""

    async def reserve(request_id: str, tokens: int) -> KVLease:
        del request_id
        return pool.allocate(tokens)

    link = open_link(f"reader-{uuid.uuid4().hex[:8]}", "UCX", pool, StagingSection())
    reader = Reader(link, reserve, timeout_seconds=60, metrics=WorkerMetrics())
    (await reader.read("bench", await _ticket(), TOKENS)).release()
    _answer({})  # now the two are connected
    standing = await _ticket()
    _answer({})
    (part,) = standing.parts
    own = pool.array.ctypes.data
    size = len(standing.blocks) * pool.layout.block_bytes

    async def ours() -> None:
        (await reader.read("bench", ticket, TOKENS)).release()

    async def raw() -> None:
        await _read_one_piece(link.thread, part.agent, Span(own, part.base_address, size))

    kinds = [ours, raw]
    while True:
        ticket = await _ticket()
        took = {kind.__name__: await _seconds(kind) for kind in kinds}
        _answer({"bytes": size, **took})
        kinds.reverse()  # neither is always the first


async def _seconds(call: Callable[[], Awaitable[None]]) -> float:
    begun = time.perf_counter()
    await call()
    return time.perf_counter() - begun


async def _read_one_piece(thread: AgentThread, peer: str, span: Span) -> None:
    handle = await thread.call(thread.agent.read, peer, None, [span], b"raw")

    def wait() -> None:
        while not thread.agent.is_done(handle):
            time.sleep(0.0001)

    await thread.call(wait)
    await thread.call(thread.agent.release, handle)


async def _ticket() -> Ticket:
    return Ticket.parse(json.loads(await _asked()))


async def _asked() -> str:
    return await asyncio.to_thread(sys.stdin.readline)


def _answer(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    serve = {"source": offer, "reader": read}[sys.argv[1]]
    asyncio.run(serve(make_pool(scattered=sys.argv[2] == "scattered")))
