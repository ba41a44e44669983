"""The engine against llama.cpp and against the machine: decode, prefill, memory.

Both sides are measured in turns within one run, and of everything the quickest counts: other load on the
machine can only slow it down.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.engine.reference import Reference
from bench.engine.table import Row
from bench.engine.weights import model_gguf
from disagg_worker.config import EngineConfig, parse_config
from disagg_worker.engine import Engine, SamplingParams
from disagg_worker.model.gguf import read_gguf

CONTEXTS = (20, 500, 2000)
PREFILL_TOKENS = 512
DECODE_TOKENS = 32
BATCH = 8
COPY_BYTES = 256 << 20
MEMORY_SLACK = 300_000_000
REST_SECONDS = 0.2


def config(threads: int) -> EngineConfig:
    """Return the configuration that is measured: the defaults, with so many threads."""
    model = {"path": str(model_gguf().parent), "name": "smollm2-135m-instruct"}
    return parse_config({"model": model, "compute": {"threads": threads}})


def prompt(tokens: int, seed: int = 0) -> list[int]:
    """Return a prompt of random ordinary tokens."""
    return [int(token) for token in np.random.default_rng(seed).integers(100, 40_000, tokens)]


def load(threads: int = 0) -> Engine:
    """Load the engine with so many threads; 0 takes as many as the process may use."""
    return Engine(config(threads), *read_gguf(model_gguf()))


async def first_and_others(engine: Engine, tokens: list[int], name: str = "bench") -> tuple[float, float]:
    """Generate once; returns the seconds to the first token and those of the quickest other one."""
    sampling = SamplingParams(max_tokens=DECODE_TOKENS + 1, ignore_eos=True)
    times = [time.perf_counter()]
    async for _ in engine.generate(name, tokens, sampling):
        times.append(time.perf_counter())
    return times[1] - times[0], float(np.diff(times[1:]).min())


async def batch_seconds(engine: Engine) -> float:
    """Generate for a whole batch; returns the seconds of the quickest step."""
    prompts = [prompt(CONTEXTS[0], seed) for seed in range(BATCH)]
    runs = [first_and_others(engine, tokens, f"bench-{i}") for i, tokens in enumerate(prompts)]
    return min(seconds for _, seconds in await asyncio.gather(*runs))


def copy_rate() -> float:
    """Measure a memory copy with one thread; returns bytes read and written per second."""
    source = np.ones(COPY_BYTES // 4, dtype=np.float32)
    target = np.empty_like(source)
    seconds = []
    for _ in range(5):
        begin = time.perf_counter()
        np.copyto(target, source)
        seconds.append(time.perf_counter() - begin)
    return 2 * COPY_BYTES / min(seconds)


async def measure(rounds: int, progress: Callable[[str], None], threads: int = 0) -> list[Row]:
    """Measure everything; takes about half a minute a round.

    Args:
        rounds: Times that everything is measured.
        progress: Takes one line about what is being done.
        threads: Of both sides; 0 takes as many as the process may use.
    """
    engine = load(threads)
    await engine.start()
    samples: dict[str, list[float]] = {}

    def note(name: str, seconds: float) -> None:
        samples.setdefault(name, []).append(seconds)
        time.sleep(REST_SECONDS)

    with Reference(engine.threads) as reference:
        for number in range(rounds):
            progress(f"round {number + 1} of {rounds}")
            for context in CONTEXTS:
                reference.prefill(prompt(context))
                note(f"reference decode {context}", min(reference.decode(DECODE_TOKENS)))
                note(f"decode {context}", (await first_and_others(engine, prompt(context)))[1])
            note("reference prefill", reference.prefill(prompt(PREFILL_TOKENS)))
            note("prefill", (await first_and_others(engine, prompt(PREFILL_TOKENS)))[0])
            note("batch", await batch_seconds(engine))
            note("copy", 1 / copy_rate())
    await engine.stop()
    progress("memory of a process that fills its KV pool")
    return [*_speed_rows(samples, engine), memory_row()]


def _speed_rows(samples: dict[str, list[float]], engine: Engine) -> list[Row]:
    rate = {name: 1 / min(seconds) for name, seconds in samples.items()}
    other = f"llama.cpp f32, {engine.threads} threads"
    rows = [
        Row(
            f"decode, {context} tokens before",
            rate[f"decode {context}"],
            other,
            rate[f"reference decode {context}"],
            "tokens/s",
            target=0.6,
        )
        for context in CONTEXTS
    ]
    prefill, reference = (PREFILL_TOKENS * rate[name] for name in ("prefill", "reference prefill"))
    rows.append(Row(f"prefill, {PREFILL_TOKENS} tokens", prefill, other, reference, "tokens/s"))
    alone = rate[f"decode {CONTEXTS[0]}"]
    rows.append(Row(f"decode, batch of {BATCH}", BATCH * rate["batch"], "one sequence", alone, "tokens/s"))
    rows.append(
        Row(
            "weights read by decode",
            engine.weight_bytes * alone / 1e9,
            "memory copy",
            rate["copy"] / 1e9,
            "GB/s",
        )
    )
    return rows


def memory_row() -> Row:
    """Compare the highest memory of a process that fills its KV pool with what the issue allows it."""
    script = Path(__file__).with_name("memory_process.py")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    peak, needed = json.loads(done.stdout.splitlines()[-1])  # NIXL says something before
    allowed = needed + MEMORY_SLACK
    return Row(
        "memory at its peak", peak / 1e6, "weights + KV pool + 300", allowed / 1e6, "MB", 1.0, upper=True
    )
