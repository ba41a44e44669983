"""Disaggregated output equals aggregated output, token for token, for prompts of 1 to 2000 tokens.

The prompts are computed by one process, read through NIXL and continued by another, which also computes
each of them by itself. Both paths run in batches with what else is there, as in service.
"""

import asyncio
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from disagg_worker.config import load_config
from disagg_worker.engine import Engine, SamplingParams
from disagg_worker.metrics import WorkerMetrics
from disagg_worker.serve.worker import build_parts
from disagg_worker.transfer import Reader, Ticket

PROMPTS = int(os.environ.get("PROMPTS", "60"))
"""As many more as one has time for; of 60, half are longer than 10 tokens and eight longer than 500."""
LONGEST = 2000
GENERATED = 8
AT_ONCE = 8
PREFILLING = str(Path(__file__).with_name("prefilling_process.py"))


def prompts() -> list[list[int]]:
    """Random prompts of all orders of magnitude, more of them short than long, the extremes included."""
    rng = random.Random(20260101)  # noqa: S311 - repeatable, not secret
    lengths = [1, LONGEST] + [round(LONGEST ** rng.random() ** 2) for _ in range(PROMPTS - 2)]
    return [[rng.randrange(20, 49152) for _ in range(length)] for length in lengths]


async def aggregated(engine: Engine, name: str, tokens: list[int], sampling: SamplingParams) -> list[Any]:
    return [output async for output in engine.generate(f"{name}-whole", tokens, sampling)]


async def disaggregated(
    engine: Engine, reader: Reader, ticket: Ticket, tokens: list[int], sampling: SamplingParams
) -> list[Any]:
    lease = await reader.read(f"{ticket.lease}-read", ticket, len(tokens))
    return [
        output async for output in engine.resume(ticket.lease, tokens, lease, ticket.first_token, sampling)
    ]


@pytest.mark.timeout(1800)
async def test_prompts_of_all_lengths(
    start_child: Callable[[list[str]], Any], engine_yaml: Callable[..., Path]
) -> None:
    config = engine_yaml(transfer={"timeout_seconds": 600}, kv_cache={"memory_mib": 1024})
    child = start_child([PREFILLING, str(config)])
    metrics = WorkerMetrics()
    parts = await asyncio.to_thread(build_parts, "decode", load_config(config), metrics)
    engine, reader = parts.engine, parts.closer
    assert isinstance(reader, Reader)
    await engine.start()
    work = prompts()
    sampling = SamplingParams(max_tokens=GENERATED)
    for number in range(AT_ONCE):
        child.tell({"id": str(number), "tokens": work[number]})
    gate = asyncio.Semaphore(AT_ONCE)
    asked = AT_ONCE

    async def compare(number: int, ticket: Ticket) -> None:
        async with gate:
            tokens = work[number]
            apart, whole = await asyncio.gather(
                disaggregated(engine, reader, ticket, tokens, sampling),
                aggregated(engine, str(number), tokens, sampling),
            )
            assert apart == whole, f"prompt {number} of {len(tokens)} tokens"

    async with asyncio.TaskGroup() as group:
        for _ in work:
            answer = await asyncio.to_thread(child.hear)
            if asked < len(work):
                child.tell({"id": str(asked), "tokens": work[asked]})
                asked += 1
            group.create_task(compare(int(answer["id"]), Ticket.parse(answer["ticket"])))
    blocks = sum(engine.layout.blocks_for(len(tokens)) for tokens in work)
    moved = [
        sample.value
        for metric in metrics.registry.collect()
        for sample in metric.samples
        if sample.name == "disagg_kv_read_bytes_total"
    ]
    assert sum(moved) == blocks * engine.layout.block_bytes
    assert engine.pool.counts().active == 0
    await engine.stop()
    await reader.close()
    assert parts.thread
    await asyncio.to_thread(parts.thread.close)
