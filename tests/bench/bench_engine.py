"""Benchmark of the reference engine: `make bench-engine`, or `python tests/bench/bench_engine.py -o json`.

The exit status is 1 when a target was missed.
"""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.engine import engine_rows
from bench.engine.table import Output, report
from bench.kv import kv_rows
from testcluster.errors import ClusterError


def main(
    output: Annotated[Output, typer.Option("-o", "--output", help="Form of the result.")] = Output.TABLE,
    rounds: Annotated[int, typer.Option(min=1, help="Times everything is measured.")] = 3,
    threads: Annotated[int, typer.Option(min=0, help="Threads of both sides; 0: all that are allowed.")] = 0,
    pods: Annotated[
        bool, typer.Option(help="Read KV between two pods of the test cluster, not two processes here.")
    ] = True,
) -> None:
    """Measure the reference engine beside llama.cpp, and its KV reads beside raw ones, in one run."""
    notes = Console(stderr=True)

    def progress(text: str) -> None:
        notes.print(f"[dim]{text}[/dim]")

    rows = asyncio.run(engine_rows.measure(rounds, progress, threads))
    try:
        rows += (kv_rows.between_pods if pods else kv_rows.between_processes)(rounds, progress)
    except ClusterError as error:
        notes.print("\n".join(error.lines()), markup=False)
        raise typer.Exit(1) from None
    report(rows, output, "Reference engine")


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    app()
