"""Benchmark of the reference engine: `make bench-engine`, or `python tests/bench/bench_engine.py -o json`.

A source of rows is a coroutine function of (rounds, progress); other parts of the worker add theirs to
`sources`. The exit status is 1 when a target was missed.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench import kv_read
from bench.engine import engine_rows
from bench.engine.table import Output, Row, report

Source = Callable[[int, Callable[[str], None]], Awaitable[list[Row]]]


def main(
    output: Annotated[Output, typer.Option("-o", "--output", help="Form of the result.")] = Output.TABLE,
    rounds: Annotated[int, typer.Option(min=1, help="Times everything is measured.")] = 5,
    threads: Annotated[int, typer.Option(min=0, help="Threads of both sides; 0: all that are allowed.")] = 0,
) -> None:
    """Measure the reference engine beside llama.cpp, in one run."""
    notes = Console(stderr=True)
    sources: list[Source] = [partial(engine_rows.measure, threads=threads), kv_read.measure]
    rows = asyncio.run(_rows(sources, rounds, lambda text: notes.print(f"[dim]{text}[/dim]")))
    report(rows, output, "Reference engine")


async def _rows(sources: list[Source], rounds: int, progress: Callable[[str], None]) -> list[Row]:
    rows: list[Row] = []
    for source in sources:
        rows += await source(rounds, progress)
    return rows


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    app()
