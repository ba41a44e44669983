"""A worker without Dynamo: the role and transfer of the worker's image, behind lines of JSON.

It answers each line of its input, in whatever order requests end. A request has `id`, `tokens`, `answer`
(tokens to generate) and, for decode, `ticket`. Prefill answers with `id`, `ticket` and when it was `done`,
the others with `id`, the generated `tokens` and the `times` at which each was given out (the monotonic clock
of the machine).
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from disagg_worker.config import parse_config
from disagg_worker.engine import Engine, SamplingParams
from disagg_worker.metrics import WorkerMetrics
from disagg_worker.model.gguf import read_gguf
from disagg_worker.serve.request import Generation
from disagg_worker.serve.roles import Aggregated, Decode, Prefill, Role
from disagg_worker.transfer import Reader, Source, open_link


def make(role: str, device: str, gguf: Path, options: dict[str, Any]) -> tuple[Engine, Role, WorkerMetrics]:
    """Make a worker's engine, its role and its metrics, as the worker's image does."""
    model = {"path": str(gguf.parent), "name": "bench"}
    config = parse_config({"model": model, "compute": {"device": device}, **options})
    engine, metrics = Engine(config, *read_gguf(gguf)), WorkerMetrics()
    metrics.observe(engine)
    if role == "aggregated":
        return engine, Aggregated(engine), metrics
    link = open_link(f"{role}-{device}", "UCX", engine.pool, config.staging)
    seconds, check = config.transfer.timeout_seconds, config.transfer.check
    if role == "prefill":
        return engine, Prefill(engine, Source(link, role, seconds, metrics, check=check)), metrics
    reader = Reader(link, engine.reserve, timeout_seconds=seconds, metrics=metrics, check=check)
    return engine, Decode(engine, reader, metrics), metrics


async def answer(role: Role, line: dict[str, Any]) -> dict[str, Any]:
    """Serve one request."""
    work = Generation(tuple(line["tokens"]), SamplingParams(max_tokens=line["answer"], ignore_eos=True))
    handed = {"prefill_result": {"disaggregated_params": line.get("ticket")}}
    tokens: list[int] = []
    times: list[float] = []
    prefilled: dict[str, Any] = {}
    # To its end also where the ticket has come: prefill withdraws an offer whose ticket nobody took.
    async for chunk in role.serve(line["id"], work, handed):
        now = time.monotonic()
        if "disaggregated_params" in chunk:
            prefilled = {"ticket": chunk["disaggregated_params"], "done": now}
        tokens += chunk["token_ids"]
        times += [now] * len(chunk["token_ids"])
    return {"id": line["id"], **(prefilled or {"tokens": tokens, "times": times})}


async def main(role_name: str, device: str, gguf: str, options: str) -> None:
    """Serve until the input ends; then tell the metrics on the reads."""
    engine, role, metrics = make(role_name, device, Path(gguf), json.loads(options))
    await engine.start()
    say({"ready": True})
    running: set[asyncio.Task[None]] = set()

    async def serve(line: dict[str, Any]) -> None:
        try:
            say(await answer(role, line))
        except Exception as error:  # noqa: BLE001 - the other side tells of it and ends
            say({"id": line["id"], "error": repr(error)})

    while text := await asyncio.to_thread(sys.stdin.readline):
        line = json.loads(text)
        if line == "metrics":
            say({"id": "metrics", **transfers(metrics)})
            continue
        task = asyncio.create_task(serve(line))
        running.add(task)
        task.add_done_callback(running.discard)


def transfers(metrics: WorkerMetrics) -> dict[str, Any]:
    """Return count, bytes and seconds of the KV reads so far, and what carried them."""
    found: dict[str, Any] = {
        "reads": 0,
        "bytes": 0,
        "seconds": 0.0,
        "transports": [],
        "modes": {},
        "recomputed": 0,
    }
    for metric in metrics.registry.collect():
        for sample in metric.samples:
            match sample.name:
                case "disagg_kv_read_seconds_sum":
                    found["seconds"] = sample.value
                case "disagg_kv_read_seconds_count":
                    found["reads"] = int(sample.value)
                case "disagg_kv_read_bytes_total":
                    found["bytes"] += int(sample.value)
                    found["transports"].append(sample.labels["transport"])
                case "disagg_kv_mode_bytes_total":
                    found["modes"][sample.labels["mode"]] = int(sample.value)
                case "disagg_prompts_recomputed_total":
                    found["recomputed"] += int(sample.value)
    return found


def say(document: dict[str, Any]) -> None:
    """Write one line."""
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
