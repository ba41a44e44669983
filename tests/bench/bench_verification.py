"""Benchmark of what verification costs those it verifies: `make bench-verification`. It needs no cluster.

Dynamo's frontend, a prefill and a decode worker of the reference engine answer clients that ask without a
pause, in turns: with nothing beside them, with agents that are scraped, and with a canary in every window
besides. A window is the shortest interval that `verification.intervalSeconds` allows. What a canary costs at
that interval depends on how many tokens the deployment computes meanwhile, on a CPU few: it is told without a
target, and the cost of one is compared with an hour. The exit status is 1 when a target was missed.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
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
from disagg_operator.api.transport import Promise, Transport
from disagg_worker.prepare import prepare_model
from integration.worker.measurement import agents_of, measured_once
from integration.worker.stack import MODEL, Stack

WINDOW_SECONDS = 60.0
CLIENTS, PROMPT_WORDS, ANSWER_TOKENS, CANARY_TOKENS = 4, 60, 32, 512
SCRAPE_SECONDS, WARMUP_SECONDS = 15.0, 3.0
TARGET_THROUGHPUT, TARGET_CPU = 0.99, 1.01
PROMISE = Promise(frozenset({Transport.UCX_TCP}))
BARE, AGENTS, CANARY = "nothing", "agents", "agents and a canary"


@dataclass(frozen=True)
class Sample:
    """One window: tokens that clients got in a second, and CPU seconds of all processes for each."""

    throughput: float
    cpu: float


def main(
    output: Annotated[Output, typer.Option("-o", "--output", help="Form of the result.")] = Output.TABLE,
    rounds: Annotated[int, typer.Option(min=1, help="Windows of each sort.")] = 4,
    seconds: Annotated[float, typer.Option(min=10, help="Length of a window.")] = WINDOW_SECONDS,
) -> None:
    """Measure throughput and CPU time of the reference engine with and without agents and canaries."""
    notes = Console(stderr=True)

    def progress(text: str) -> None:
        notes.print(f"[dim]{text}[/dim]")

    with tempfile.TemporaryDirectory() as directory, _serving(Path(directory)) as (stack, model):
        samples, measurement = asyncio.run(_measure(stack, model, rounds, seconds, progress))
    report(_rows(samples, measurement, seconds), output, "What verification costs")


@contextmanager
def _serving(directory: Path) -> Iterator[tuple[Stack, Path]]:
    """Run a frontend and two workers."""
    model = directory / MODEL
    prepare_model(model)
    config = directory / "engine.yaml"
    sections = {"model": {"path": str(model), "name": MODEL}, "compute": {"threads": 1}}
    config.write_text(yaml.safe_dump({**sections, "kv_cache": {"memory_mib": 256}}))
    stack = Stack(directory)
    try:
        stack.start_frontend()
        for role in ("prefill", "decode"):
            stack.start_worker(role, role, config)
        stack.wait_ready()
        yield stack, model
    finally:
        stack.end()


async def _measure(
    stack: Stack, model: Path, rounds: int, seconds: float, progress: Callable[[str], None]
) -> tuple[dict[str, list[Sample]], float]:
    """Return the windows of each sort, and the CPU seconds of one measurement."""
    samples: dict[str, list[Sample]] = {}
    with agents_of(stack, model) as ports:
        await _up(ports)
        before = _cpu()
        await _verify(stack, ports)
        measurement = _cpu() - before
        progress(f"one measurement takes {measurement:.1f} s of CPU time")
    for number in range(rounds):
        sorts = (BARE, AGENTS, CANARY) if number % 2 == 0 else (CANARY, AGENTS, BARE)
        for sort in sorts:
            sample = await _window(stack, model, sort, seconds)
            samples.setdefault(sort, []).append(sample)
            progress(
                f"round {number + 1} of {rounds}, {sort}: {sample.throughput:.1f} tokens/s, "
                f"{sample.cpu * 1000:.1f} ms of CPU time a token"
            )
    return samples, measurement


async def _window(stack: Stack, model: Path, sort: str, seconds: float) -> Sample:
    """Serve clients for a while beside what verification runs."""
    if sort == BARE:
        return await _served(stack, seconds)
    with agents_of(stack, model) as ports:
        await _up(ports)
        async with _scraped(ports):
            asking = asyncio.create_task(_verify(stack, ports)) if sort == CANARY else None
            sample = await _served(stack, seconds)
            if asking is not None:
                await asking
    return sample


async def _served(stack: Stack, seconds: float) -> Sample:
    counted = [0]
    async with httpx.AsyncClient(timeout=120) as session:
        clients = [asyncio.create_task(_client(session, stack, number, counted)) for number in range(CLIENTS)]
        await asyncio.sleep(WARMUP_SECONDS)
        clock = asyncio.get_running_loop().time
        began, tokens, cpu = clock(), counted[0], _cpu()
        await asyncio.sleep(seconds)
        lasted, tokens, cpu = clock() - began, counted[0] - tokens, _cpu() - cpu
        for client in clients:
            client.cancel()
        await asyncio.wait(clients)
        for client in clients:
            if not client.cancelled():
                client.result()
    return Sample(tokens / lasted, cpu / tokens)


async def _client(session: httpx.AsyncClient, stack: Stack, number: int, counted: list[int]) -> None:
    """Ask again and again, and count the tokens as they come."""
    asked = 0
    while True:
        asked += 1
        prompt = " ".join([f"Client {number} asks for the {asked}th time.", *["more"] * PROMPT_WORDS])
        body = {"model": MODEL, "prompt": prompt, "stream": True, "max_tokens": ANSWER_TOKENS}
        async with session.stream("POST", f"{stack.url}/v1/completions", json=body) as answer:
            answer.raise_for_status()
            async for line in answer.aiter_lines():
                counted[0] += line.startswith("data: {")


async def _verify(stack: Stack, ports: dict[str, int]) -> None:
    measured = await measured_once(stack, ports, PROMISE, CANARY_TOKENS)
    if measured.reply is None or measured.reply.text is None:
        raise RuntimeError(f"the canary was not answered: {measured.verdict.message}")


async def _up(ports: dict[str, int]) -> None:
    """Wait until all agents answer."""
    async with httpx.AsyncClient() as session, asyncio.timeout(60):
        for port in ports.values():
            while True:
                try:
                    (await session.get(f"http://127.0.0.1:{port}/health")).raise_for_status()
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.1)


@asynccontextmanager
async def _scraped(ports: dict[str, int]) -> AsyncIterator[None]:
    """Read all agents' metrics as often as Prometheus does unless told otherwise."""

    async def scrape() -> None:
        async with httpx.AsyncClient(timeout=30) as session:
            while True:
                for port in ports.values():
                    (await session.get(f"http://127.0.0.1:{port}/metrics")).raise_for_status()
                await asyncio.sleep(SCRAPE_SECONDS)

    task = asyncio.create_task(scrape())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


def _cpu() -> float:
    """Return the CPU seconds of frontend, workers and agents so far: all children of this process."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == os.getpid():
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _rows(samples: dict[str, list[Sample]], measurement: float, seconds: float) -> list[Row]:
    rate = {sort: median(sample.throughput for sample in found) for sort, found in samples.items()}
    cpu = {sort: 1000 * median(sample.cpu for sample in found) for sort, found in samples.items()}
    every = f"{AGENTS}, scraped every {SCRAPE_SECONDS:g} s"
    canary = f"{CANARY} every {seconds:g} s"
    hour = 3600 * (os.cpu_count() or 1)
    return [
        Row(every, rate[AGENTS], BARE, rate[BARE], "tokens/s", TARGET_THROUGHPUT),
        Row(every, cpu[AGENTS], BARE, cpu[BARE], "ms CPU/token", TARGET_CPU, upper=True),
        Row(canary, rate[CANARY], BARE, rate[BARE], "tokens/s"),
        Row(canary, cpu[CANARY], BARE, cpu[BARE], "ms CPU/token"),
        Row(
            "one measurement",
            measurement,
            "1 % of this machine's hour",
            0.01 * hour,
            "s CPU",
            1.0,
            upper=True,
        ),
    ]


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    app()
