"""A prefill worker's transfer half in a process of its own: a pool with known contents, real NIXL, no model.

Reads one JSON command a line: {"offer": TOKENS} answers with a ticket, {"counts": true} with the pool's
counts and the bytes served, {"spoil": BLOCK} writes another number into a block. Block b of the pool is
filled with the number b + 1.
"""

import argparse
import asyncio
import json
import sys

import numpy as np

from disagg_worker.config import StagingSection
from disagg_worker.engine import Prefilled
from disagg_worker.kv import BlockPool, KVLayout
from disagg_worker.metrics import WorkerMetrics
from disagg_worker.transfer import Source, open_link


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--layout", type=json.loads, required=True)
    parser.add_argument("--blocks", type=int, required=True)
    parser.add_argument("--peer", required=True)
    parser.add_argument("--agent", required=True)
    parser.add_argument("--timeout", type=float, required=True)
    given = parser.parse_args()
    pool = BlockPool(KVLayout(**given.layout), given.blocks)
    pool.array[:] = np.arange(1, given.blocks + 1, dtype=np.float32).reshape(-1, 1, 1, 1, 1, 1)
    metrics = WorkerMetrics()
    link = open_link(given.agent, "UCX", pool, StagingSection())
    source = Source(link, given.peer, given.timeout, metrics)
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), sys.stdin.buffer
    )
    while line := await lines.readline():
        command = json.loads(line)
        if "offer" in command:
            lease = pool.allocate(command["offer"])
            lease.hold()
            answer = (await source.offer("test", Prefilled(7, lease))).to_json()
        elif "spoil" in command:
            pool.array[command["spoil"], -1, 1, 0, 0, 0] = -1.0
            answer = {}
        else:
            served = metrics.registry.get_sample_value("disagg_kv_served_bytes_total")
            answer = pool.counts()._asdict() | {"served": served}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    await source.close()
    link.thread.close()


asyncio.run(main())
