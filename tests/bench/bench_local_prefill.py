"""Benchmark of prompts that decode computes itself: `make bench-local-prefill`. It needs no cluster.

Two deployments of the reference engine run side by side, each of Dynamo's frontend, a prefill and a decode
worker: in one prefill computes every prompt and its KV cache is transferred, in the other decode computes
all. Prompts of several lengths are sent to both in turns, while decode generates other answers.

A prompt that decode computes saves a hop and a transfer, and holds up every answer that decode has in hand.
So two things are compared: how long the client of the prompt waits for its first token, and how long all
clients wait together, those included whose answers are held up. The length at which the second is equal is
what `spec.localPrefill.maxPromptTokens` should be on such a machine with such a load.
"""

import asyncio
import itertools
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

import httpx
import typer
import yaml
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.engine.table import Output, Row, report
from bench.routing.crossover import crossover, picture
from disagg_worker.prepare import prepare_model
from integration.worker.stack import MODEL, Stack

LENGTHS = (4, 16, 64, 256)
LOCAL, TRANSFERRED = "computed by decode", "transferred"
LONGEST = 4000
_FIRST_TOKEN_ID, _TOKEN_IDS = 1000, 20000
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Sample:
    """One prompt: seconds until its first token, and the longest pause of each answer beside it."""

    first_token: float
    pauses: tuple[float, ...]

    @property
    def waited(self) -> float:
        """Seconds that all clients waited together."""
        return self.first_token + sum(self.pauses)


def main(
    output: Annotated[Output, typer.Option("-o", "--output", help="Form of the result.")] = Output.TABLE,
    rounds: Annotated[int, typer.Option(min=1, help="Prompts of each length and sort.")] = 5,
    running: Annotated[int, typer.Option(min=0, help="Answers that decode generates meanwhile.")] = 2,
    plot: Annotated[Path | None, typer.Option(help="Where to draw the result, as SVG.")] = None,
) -> None:
    """Compare prompts that are transferred with those that decode computes itself."""
    notes = Console(stderr=True)
    with tempfile.TemporaryDirectory() as directory, _serving(Path(directory)) as stacks:
        samples = asyncio.run(
            _measure(stacks, rounds, running, lambda text: notes.print(f"[dim]{text}[/dim]"))
        )
    first, waited = (_curves(samples, attribute) for attribute in ("first_token", "waited"))
    crossing = crossover(waited[LOCAL], waited[TRANSFERRED])
    if plot is not None:
        title = f"How long all clients wait, with {running} answers in decode's hands"
        plot.write_text(picture(title, waited, crossing), encoding="utf-8")
    where = "at no length that was measured" if crossing is None else f"at {crossing:.0f} tokens"
    notes.print(f"With {running} answers in decode's hands, all clients wait as long either way {where}.")
    rows = [
        Row(f"{length} tokens, {what}", curve[LOCAL][length], TRANSFERRED, curve[TRANSFERRED][length], "ms")
        for what, curve in (("first token", first), ("all clients", waited))
        for length in LENGTHS
    ]
    report(rows, output, "Prompts that decode computes itself")


@contextmanager
def _serving(directory: Path) -> Iterator[dict[str, Stack]]:
    """Run both deployments."""
    model = directory / MODEL
    prepare_model(model)
    with ExitStack() as ending:
        stacks = {}
        for number, (sort, longest) in enumerate({LOCAL: LONGEST, TRANSFERRED: 0}.items()):
            folder = directory / str(number)
            folder.mkdir()
            stack = stacks[sort] = Stack(folder)
            ending.callback(stack.end)
            config = folder / "engine.yaml"
            sections = {"model": {"path": str(model), "name": MODEL}, "compute": {"threads": 1}}
            config.write_text(yaml.safe_dump({**sections, "local_prefill": {"max_prompt_tokens": longest}}))
            stack.start_frontend()
            for role in ("prefill", "decode"):
                stack.start_worker(role, role, config)
        for stack in stacks.values():
            stack.wait_ready()
        yield stacks


async def _measure(
    stacks: Mapping[str, Stack], rounds: int, running: int, progress: Callable[[str], None]
) -> dict[tuple[str, int], list[Sample]]:
    samples: dict[tuple[str, int], list[Sample]] = {}
    async with httpx.AsyncClient(timeout=300) as session:
        # Workers meet at their first transfer, which takes longer.
        for stack in stacks.values():
            await _sample(session, stack, 32, running)
        for number in range(rounds):
            for length in LENGTHS:
                order = (LOCAL, TRANSFERRED) if number % 2 == 0 else (TRANSFERRED, LOCAL)
                for sort in order:
                    sample = await _sample(session, stacks[sort], length, running)
                    samples.setdefault((sort, length), []).append(sample)
                    progress(
                        f"round {number + 1} of {rounds}, {length} tokens {sort}: first token after "
                        f"{1000 * sample.first_token:.0f} ms, all waited {1000 * sample.waited:.0f} ms"
                    )
    _check(stacks)
    return samples


def _check(stacks: Mapping[str, Stack]) -> None:
    """Nothing was measured but what is told: no prompt went the other way."""
    local, moved = stacks[LOCAL], stacks[TRANSFERRED]
    if local.metric("decode", "disagg_kv_reads_total") or not local.metric(
        "decode", "disagg_prompts_local_total"
    ):
        raise RuntimeError("KV cache was transferred where decode should have computed every prompt")
    if moved.metric("decode", "disagg_prompts_local_total") or not moved.metric(
        "decode", "disagg_kv_reads_total"
    ):
        raise RuntimeError("decode computed prompts whose KV cache should have been transferred")


async def _sample(session: httpx.AsyncClient, stack: Stack, length: int, running: int) -> Sample:
    """Send a prompt while other answers are generated."""
    clock = asyncio.get_running_loop().time
    heard: list[list[float]] = [[] for _ in range(running)]
    others = [asyncio.create_task(_listen(session, stack, times)) for times in heard]
    try:
        await _until(lambda: all(len(times) > 2 for times in heard), others)
        began = clock()
        async with _asked(session, stack, length, 1) as tokens:
            await anext(tokens)
            first = clock() - began
        seen = [len(times) for times in heard]
        await _until(lambda: all(len(t) > n for t, n in zip(heard, seen, strict=True)), others)
    finally:
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
    return Sample(first, tuple(_longer_pause(times, began) for times in heard))


def _longer_pause(times: list[float], began: float) -> float:
    """Return by how much the longest pause since a moment is longer than the pause before it."""
    pauses = list(itertools.pairwise(times))
    before = [late - early for early, late in pauses if late <= began]
    since = [late - early for early, late in pauses if late > began]
    return max(0.0, max(since) - median(before))


async def _until(true: Callable[[], bool], tasks: list[asyncio.Task[None]]) -> None:
    async with asyncio.timeout(240):
        while not true():
            for task in tasks:
                if task.done():
                    task.result()
                    raise RuntimeError("an answer beside the measured prompt ended too early")
            await asyncio.sleep(0.005)


async def _listen(session: httpx.AsyncClient, stack: Stack, times: list[float]) -> None:
    """Note when each token of an answer without end comes."""
    clock = asyncio.get_running_loop().time
    async with _asked(session, stack, 8, LONGEST - 200) as tokens:
        async for _ in tokens:
            times.append(clock())


@asynccontextmanager
async def _asked(
    session: httpx.AsyncClient, stack: Stack, length: int, answer: int
) -> AsyncIterator[AsyncIterator[str]]:
    """Ask with a prompt of just so many tokens that was never asked before, and yield events with tokens."""
    number = next(_numbers)
    prompt = [
        _FIRST_TOKEN_ID + (number * 7919 + position * 104729) % _TOKEN_IDS for position in range(length)
    ]
    body = {
        "model": MODEL,
        "prompt": prompt,
        "stream": True,
        "max_tokens": answer,
        "temperature": 0,
        "ignore_eos": True,
    }
    async with session.stream("POST", f"{stack.url}/v1/completions", json=body) as response:
        if response.status_code != httpx.codes.OK:
            raise RuntimeError(f"HTTP {response.status_code}: {(await response.aread()).decode()}")
        yield (line async for line in response.aiter_lines() if line.startswith("data: {"))


def _curves(samples: Mapping[tuple[str, int], list[Sample]], attribute: str) -> dict[str, dict[int, float]]:
    """Return milliseconds by length, for each sort."""
    return {
        sort: {
            length: 1000 * median(getattr(sample, attribute) for sample in samples[sort, length])
            for length in LENGTHS
        }
        for sort in (LOCAL, TRANSFERRED)
    }


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    app()
