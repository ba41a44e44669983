"""A process that loads the engine, fills its KV pool, and prints the most memory it ever had."""

import asyncio
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from bench.engine.engine_rows import BATCH, load, prompt
from disagg_worker.engine import SamplingParams


async def fill_pool() -> int:
    """Compute prompts until the pool is full; returns the bytes of weights and pool."""
    engine = load()
    await engine.start()
    share = min(engine.pool.capacity_tokens // BATCH, engine.max_sequence_tokens) - 2
    sampling = SamplingParams(max_tokens=2)
    jobs = [engine.prefill(f"fill-{i}", prompt(share, i), sampling) for i in range(BATCH)]
    for prefilled in await asyncio.gather(*jobs):
        prefilled.lease.release()
    await engine.stop()
    return engine.weight_bytes + engine.pool.array.nbytes


needed = asyncio.run(fill_pool())
status = Path("/proc/self/status").read_text(encoding="ascii")
peak_kib = int(status.split("VmHWM:")[1].split()[0])
print(json.dumps([peak_kib * 1024, needed]))
