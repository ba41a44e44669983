"""Disaggregated against aggregated serving on two devices: `make bench-serving`. It needs no cluster.

The same requests are sent to one prefill and one decode worker, whose KV cache goes through staging memory
where that is quicker, always and never, and to two aggregated workers in turns, each on a device of its own.
They arrive at random at several rates. Who waits how long for the first token (TTFT), how far tokens are
apart (ITL), and how many tokens come a second is compared; the tokens must be the same.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.engine.table import Output
from bench.engine.weights import cache_directory, model_gguf, random_gguf
from bench.serving.load import Answered, Request, Worker, requests, serve, workers

KINDS = {
    "disaggregated": (("prefill", "decode"), "auto"),
    "disaggregated, all staged": (("prefill", "decode"), "always"),
    "disaggregated, block by block": (("prefill", "decode"), "never"),
    "aggregated": (("aggregated", "aggregated"), "auto"),
}
"""Roles of the workers, and when KV cache goes through staging memory."""


@dataclass(frozen=True)
class Result:
    """What one kind of serving gave at one rate; times in milliseconds.

    Attributes:
        kind: One of `KINDS`.
        rate: Requests a second.
        ttft_p50: Median time to the first token, from when the request was due.
        ttft_p99: Of a hundred requests all but one have theirs within this.
        itl_p50: Median distance between two tokens of an answer.
        itl_p99: Of a hundred distances all but one are at most this.
        stall_p50: Median over the answers of the largest distance in each.
        tokens_per_second: Of all answers, from the first request to the last token.
        handover_p50: Median time from the end of prefill to the first token that decode has computed.
        kv: Reads of KV cache during these requests: reads, bytes, seconds, transports.
    """

    kind: str
    rate: float
    ttft_p50: float
    ttft_p99: float
    itl_p50: float
    itl_p99: float
    stall_p50: float
    tokens_per_second: float
    handover_p50: float | None = None
    kv: dict[str, Any] | None = None


def result(kind: str, rate: float, answers: Sequence[Answered], kv: dict[str, Any] | None) -> Result:
    """Sum answers up."""
    first = [1e3 * (each.times[0] - each.sent) for each in answers]
    gaps = [1e3 * np.diff(each.times) for each in answers]
    seconds = max(each.times[-1] for each in answers) - min(each.sent for each in answers)
    every = np.concatenate(gaps)
    return Result(
        kind,
        rate,
        float(np.percentile(first, 50)),
        float(np.percentile(first, 99)),
        float(np.percentile(every, 50)),
        float(np.percentile(every, 99)),
        float(np.median([gap.max() for gap in gaps])),
        sum(len(each.tokens) for each in answers) / seconds,
        _handover(answers),
        kv,
    )


def _handover(answers: Sequence[Answered]) -> float | None:
    handed = [1e3 * (each.times[1] - each.handed) for each in answers if each.handed is not None]
    return float(np.median(handed)) if handed else None


async def _of_kind(
    kind: str, devices: Sequence[str], gguf: Path, load: dict[float, list[Request]], options: dict[str, Any]
) -> tuple[list[Result], dict[float, list[Answered]]]:
    disaggregated = kind != "aggregated"
    roles, use = KINDS[kind]
    options = {**options, "staging": {"use": use}}
    results, given = [], {}
    async with workers(list(zip(roles, devices, strict=True)), gguf, options) as serving:
        (some, *_) = load.values()
        warm = [Request(0.02 * n, each.tokens, 8) for n, each in enumerate(some[:8])]
        await serve(warm, serving, disaggregated=disaggregated)
        for rate, drawn in load.items():
            before = await _reads(serving) if disaggregated else None
            given[rate] = await serve(drawn, serving, disaggregated=disaggregated)
            kv = await _reads(serving) if disaggregated else None
            if kv and before:
                kv |= {key: kv[key] - before[key] for key in ("reads", "bytes", "seconds", "recomputed")}
            results.append(result(kind, rate, given[rate], kv))
    return results, given


async def _reads(serving: Sequence[Worker]) -> dict[str, Any]:
    found = await serving[1].ask("metrics", "metrics")
    return {key: value for key, value in found.items() if key != "id"}


def _same(ours: Sequence[int], theirs: Sequence[int]) -> int:
    """Count the tokens up to the first difference."""
    return next((i for i, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1]), len(ours))


def show(results: Sequence[Result]) -> None:
    """Print results as a table."""
    table = Table(title="Serving on two devices")
    for heading in (
        "requests/s",
        "",
        "TTFT p50",
        "p99",
        "ITL p50",
        "p99",
        "stall",
        "tokens/s",
        "handover",
        "KV read",
    ):
        table.add_column(heading, justify="right")
    for each in sorted(results, key=lambda each: (each.rate, each.kind)):
        times = (each.ttft_p50, each.ttft_p99, each.itl_p50, each.itl_p99, each.stall_p50)
        kv = ""
        if each.kv and each.kv["reads"]:
            mean, gigabytes = each.kv["seconds"] / each.kv["reads"], each.kv["bytes"] / 1e9
            how = ", ".join(each.kv["modes"])
            rate = gigabytes / each.kv["seconds"]
            kv = f"{1e3 * mean:.1f} ms, {rate:.1f} GB/s, {each.kv['transports'][0]}, {how}"
        handover = f"{each.handover_p50:.1f} ms" if each.handover_p50 else ""
        texts = (f"{time:.1f} ms" for time in times)
        table.add_row(f"{each.rate:g}", each.kind, *texts, f"{each.tokens_per_second:.0f}", handover, kv)
    Console(width=220).print(table)


def main(
    *,
    output: Annotated[Output, typer.Option("-o", "--output", help="Form of the result.")] = Output.TABLE,
    devices: Annotated[
        str, typer.Option(help="Two devices, as compute.device names them.")
    ] = "cuda:0,cuda:1",
    rates: Annotated[str, typer.Option(help="Requests a second.")] = "2,5,10,20",
    seconds: Annotated[float, typer.Option(help="How long requests arrive at each rate.")] = 5.0,
    prompt: Annotated[int, typer.Option(help="Tokens of a prompt.")] = 1024,
    answer: Annotated[int, typer.Option(help="Tokens of an answer.")] = 64,
    random_weights: Annotated[
        bool,
        typer.Option("--random-weights", help="Of the same dimensions, instead of the model."),
    ] = False,
    memory_mib: Annotated[int, typer.Option(help="KV memory of each worker.")] = 8192,
    check: Annotated[bool, typer.Option(help="Have decode compare what it read, by sums.")] = True,
) -> None:
    """Measure both kinds of serving on the same requests."""
    load = {
        rate: requests(rate, max(4, round(rate * seconds)), prompt, answer)
        for rate in map(float, rates.split(","))
    }
    options = {
        "kv_cache": {"memory_mib": memory_mib},
        "scheduler": {"max_batch_size": 64, "max_waiting_requests": 10_000},
        "transfer": {"timeout_seconds": 120, "check": check},
    }

    gguf = cache_directory() / "random.gguf" if random_weights else model_gguf()
    if random_weights:
        random_gguf(gguf)

    async def all_kinds() -> tuple[list[Result], dict[str, list[int]]]:
        found: list[Result] = []
        given: list[list[tuple[int, ...]]] = []
        for kind in KINDS:
            results, answers = await _of_kind(kind, devices.split(","), gguf, load, options)
            found += results
            given.append([each.tokens for some in answers.values() for each in some])
        *others, whole = given
        return found, {
            kind: [_same(*pair) for pair in zip(some, whole, strict=True) if pair[0] != pair[1]]
            for kind, some in zip(KINDS, others, strict=False)
        }

    results, different = asyncio.run(all_kinds())
    if output is Output.JSON:
        print(json.dumps([asdict(each) for each in results], indent=2))
    else:
        show(results)
    if any(different.values()):
        Console(stderr=True).print(f"answers not as the aggregated ones, after so many tokens: {different}")
        raise typer.Exit(1)


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    app()
