"""KV reads between two processes over UCX tcp, beside a raw READ of the same bytes in one piece.

Ours is all that a decode worker does for a request: check the ticket, reserve blocks, merge neighbours, read,
count. Both sides use the same two agents in turns, so that other load meets both; the median counts. Run as a
program this file is the process that is read from.
"""

import asyncio
import json
import os
import random
import sys
import time
import uuid
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from pathlib import Path
from statistics import median

from bench.engine.table import Row
from disagg_worker.engine import Prefilled
from disagg_worker.kv import BlockPool, KVLayout, KVLease
from disagg_worker.metrics import WorkerMetrics
from disagg_worker.transfer import Reader, Source, Ticket, open_agent
from disagg_worker.transfer.agent import AgentThread, soon
from disagg_worker.transfer.segments import Span

LAYERS, KV_HEADS, HEAD_DIM, BLOCK_TOKENS = 30, 3, 64, 16  # SmolLM2-135M
TOKENS = 2000
BLOCKS = 512
TARGET = 0.9


def make_pool(*, scattered: bool) -> BlockPool:
    """Make a pool; a scattered one hands out blocks in random order, as after long service."""
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


async def measure(rounds: int, progress: Callable[[str], None]) -> list[Row]:
    """Measure reads of a long prompt's KV: blocks in a row, and scattered over both pools."""
    os.environ.setdefault("UCX_TLS", "tcp")  # between pods there is no shared memory
    rows = []
    for scattered in (False, True):
        progress(f"KV read of {TOKENS} tokens, blocks {'scattered' if scattered else 'in a row'}")
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            __file__,
            "scattered" if scattered else "in a row",
            stdin=PIPE,
            stdout=PIPE,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        )
        try:
            rows.append(await _row(child, rounds, scattered=scattered))
        finally:
            child.kill()
            await child.communicate()
    return rows


async def _row(child: Process, rounds: int, *, scattered: bool) -> Row:
    pool = make_pool(scattered=scattered)
    thread = open_agent(f"reader-{uuid.uuid4().hex[:8]}", "UCX", pool.array)

    async def reserve(request_id: str, tokens: int) -> KVLease:
        del request_id
        return pool.allocate(tokens)

    reader = Reader(thread, pool, reserve, timeout_seconds=60, metrics=WorkerMetrics())
    (await reader.read("bench", await _ask(child), TOKENS)).release()  # connects
    ours, raw = [], []
    for _ in range(rounds):
        ticket = await _ask(child)
        size = len(ticket.blocks) * pool.layout.block_bytes
        # The raw read comes first: the other side is attentive only until its offer was read.
        alone = await _raw_read(thread, ticket, Span(pool.array.ctypes.data, ticket.base_address, size))
        begun = time.perf_counter()
        lease = await reader.read("bench", ticket, TOKENS)
        took = time.perf_counter() - begun
        lease.release()
        ours.append(size / took / 1e6)
        raw.append(size / alone / 1e6)
    await reader.close()
    await asyncio.to_thread(thread.close)
    name = f"KV read, {TOKENS} tokens, blocks {'scattered' if scattered else 'in a row'}"
    return Row(name, median(ours), "raw NIXL READ in one piece", median(raw), "MB/s", TARGET)


async def _raw_read(thread: AgentThread, ticket: Ticket, span: Span) -> float:
    begun = time.perf_counter()
    handle = await thread.call(thread.agent.read, ticket.agent, [span], b"raw")
    while not await thread.call(soon, lambda: thread.agent.is_done(handle)):
        pass
    took = time.perf_counter() - begun
    await thread.call(thread.agent.release, handle)
    return took


async def _ask(child: Process) -> Ticket:
    assert child.stdin
    assert child.stdout
    child.stdin.write(b"offer\n")
    while not (line := await child.stdout.readline()).startswith(b"{"):
        if not line:
            raise RuntimeError("the process that is read from ended")
    return Ticket.parse(json.loads(line))


async def _offer(*, scattered: bool) -> None:
    pool = make_pool(scattered=scattered)
    thread = open_agent(f"source-{uuid.uuid4().hex[:8]}", "UCX", pool.array)
    source = Source(thread, pool, "source", 60, WorkerMetrics())
    while await asyncio.to_thread(sys.stdin.readline):
        ticket = await source.offer("bench", Prefilled(0, pool.allocate(TOKENS)))
        sys.stdout.write(json.dumps(ticket.to_json()) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_offer(scattered=sys.argv[1] == "scattered"))
