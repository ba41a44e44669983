"""A worker of either role without Dynamo: its own roles, engine and real NIXL, over a tiny random model.

Answers JSON lines with JSON lines, in any order, told apart by "id":
{"id", "tokens"} asks prefill for a "ticket"; {"id", "tokens", "ticket"} asks decode for the "tokens" of the
answer; a request that fails is answered with its "error". {"id", "counts": true} tells the pool's counts,
READs in quarantine, reads by outcome, bytes by mode, used slots of staging memory, and prompts that decode
computed itself. {"id", "whole": [token ids]} is answered by this worker alone.

With --nursery it makes such a worker for each line on its standard input, a path: a fork of itself that reads
from PATH.in and writes to PATH.out. All libraries are loaded by then, and it starts in no time.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from disagg_worker.config import parse_config
from disagg_worker.engine import Engine, EngineError, SamplingParams
from disagg_worker.metrics import WorkerMetrics
from disagg_worker.serve.request import Generation
from disagg_worker.serve.worker import Parts, assemble
from disagg_worker.transfer import Reader, TransferError
from disagg_worker.transfer.transport import prepare_evidence
from unit.worker_engine.tiny import SPEC, tiny_weights

LONGEST = 400
SAMPLING = SamplingParams(max_tokens=8, ignore_eos=True)


def samples(metrics: WorkerMetrics, name: str, label: str = "outcome") -> dict[str, float]:
    """The values of a metric by a label."""
    found = (sample for metric in metrics.registry.collect() for sample in metric.samples)
    return {sample.labels[label]: sample.value for sample in found if sample.name == name}


async def answer(parts: Parts, metrics: WorkerMetrics, asked: dict[str, Any]) -> dict[str, Any]:
    if "counts" in asked:
        return {
            **parts.engine.pool.counts()._asdict(),
            "quarantined": parts.closer.quarantined if isinstance(parts.closer, Reader) else 0,
            "reads": {
                key: value for key, value in samples(metrics, "disagg_kv_reads_total").items() if value
            },
            "recomputed": samples(metrics, "disagg_prompts_recomputed_total"),
            "modes": samples(metrics, "disagg_kv_mode_bytes_total", "mode"),
            "slots": samples(metrics, "disagg_kv_staging_slots", "state"),
        }
    if "whole" in asked:
        outputs = parts.engine.generate(asked["id"], asked["whole"], SAMPLING)
        return {"tokens": [output.token async for output in outputs]}
    request = {"prefill_result": {"disaggregated_params": asked.get("ticket")}}
    work = Generation(tuple(asked["tokens"]), SAMPLING)
    try:
        chunks = [chunk async for chunk in parts.role.serve(asked["id"], work, request)]
    except (TransferError, EngineError) as error:
        return {"error": str(error)}
    if "disaggregated_params" in chunks[0]:
        return {"ticket": chunks[0]["disaggregated_params"]}
    return {"tokens": [token for chunk in chunks for token in chunk["token_ids"]]}


def fork() -> None:
    """Return in a fork of this process for each line that comes."""
    prepare_evidence(os.environ)
    import nixl._api  # noqa: F401, PLC0415 - UCX reads its environment once

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    lines = os.fdopen(0, "rb", buffering=0, closefd=False)
    while path := lines.readline().decode().strip():
        pid = os.fork()
        if not pid:
            os.dup2(os.open(f"{path}.in", os.O_RDONLY), 0)
            os.dup2(os.open(f"{path}.out", os.O_WRONLY), 1)
            return
        sys.stdout.write(json.dumps({"pid": pid}) + "\n")
        sys.stdout.flush()
    sys.exit()


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=("prefill", "decode"))
    parser.add_argument("--timeout", type=float, required=True)
    parser.add_argument("--waiting", type=int, default=256)
    parser.add_argument("--block-tokens", type=int, default=4)
    parser.add_argument("--staging", choices=("auto", "always", "never"), default="auto")
    parser.add_argument("--nursery", action="store_true")
    return parser.parse_args()


async def main(given: argparse.Namespace) -> None:
    config = parse_config(
        {
            "model": {"path": "unused", "name": "tiny"},
            "kv_cache": {"block_tokens": given.block_tokens, "memory_mib": 2},
            "scheduler": {"max_sequence_tokens": LONGEST, "max_waiting_requests": given.waiting},
            "transfer": {"timeout_seconds": given.timeout},
            "staging": {"use": given.staging, "slot_mib": 1, "slots": 2},
            "compute": {"threads": 1},
        }
    )
    metrics = WorkerMetrics()
    engine = Engine(config, replace(SPEC, context=LONGEST), tiny_weights())
    parts = assemble(given.role, engine, config, metrics)
    await parts.engine.start()
    lines = asyncio.StreamReader(limit=1 << 20)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), os.fdopen(0, "rb", buffering=0, closefd=False)
    )

    async def reply(asked: dict[str, Any]) -> None:
        told = {"id": asked["id"], **await answer(parts, metrics, asked)}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()

    async with asyncio.TaskGroup() as group:
        while line := await lines.readline():
            group.create_task(reply(json.loads(line)))


asked_for = options()
if asked_for.nursery:
    fork()
asyncio.run(main(asked_for))
