"""A prefill worker's process that fills its KV pool, and prints the most memory it ever had.

It holds what a worker in a pod holds: Dynamo, NIXL with the pool registered, and the engine.
"""

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from bench.engine.engine_rows import batch_seconds, prompt
from bench.engine.weights import model_gguf
from disagg_worker.config import parse_config
from disagg_worker.engine import Engine, SamplingParams
from disagg_worker.metrics import WorkerMetrics
from disagg_worker.serve.worker import build_parts


async def fill_pool(engine: Engine) -> None:
    """Compute the longest prompts one after another until no block is free, then a whole batch."""
    await engine.start()
    leases = []
    while free := engine.pool.free_blocks:
        tokens = min(free * engine.layout.block_tokens, engine.max_sequence_tokens - 1)
        filled = await engine.prefill(f"fill-{free}", prompt(tokens, free), SamplingParams(max_tokens=1))
        leases.append(filled.lease)
    for lease in leases:
        lease.release()
    await batch_seconds(engine)
    await engine.stop()


with tempfile.TemporaryDirectory() as directory:
    (Path(directory) / "model.gguf").symlink_to(model_gguf())
    config = parse_config({"model": {"path": directory, "name": "bench"}})
    engine = build_parts("prefill", config, WorkerMetrics()).engine
asyncio.run(fill_pool(engine))
status = Path("/proc/self/status").read_text(encoding="ascii")
peak_kib = int(status.split("VmHWM:")[1].split()[0])
print(json.dumps([peak_kib * 1024, engine.weight_bytes + engine.pool.array.nbytes]), flush=True)
os._exit(0)  # a library in NIXL's wheel (libnl) may crash in its destructor when a process ends as usual
