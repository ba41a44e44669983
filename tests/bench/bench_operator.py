"""Benchmark of the operator: `make bench-operator`; docs/performance.md says how it measures.

A private control plane with simulated pods, and in one run: the same deployments made by a bare script (the
floor) and by the operator. The exit status is 1 where a part failed or a target was missed.
"""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.operator.circumstances import circumstances
from bench.operator.figures import SIDES, Figures
from bench.operator.picture import bars
from bench.operator.report import groups, inserted, measured, plain, remarks, rows, section
from bench.operator.scenarios import PARTS, Bench, chosen
from bench.operator.targets import AVAILABLE, CREATED, FULL, SHORT, Reached, Target, targets
from testcluster.console import Progress
from testcluster.paths import REPOSITORY

DOCUMENT = REPOSITORY / "docs/performance.md"
DATA = REPOSITORY / "docs/performance.json"
IMAGES = REPOSITORY / "docs/images"
_STEADY, _SHORT_STEADY = 600.0, 30.0


def main(
    *,
    parts: Annotated[
        str, typer.Option(envvar="PARTS", help=f"Parts to run, by commas: {', '.join(PARTS)}. Default: all.")
    ] = "",
    profile: Annotated[
        Path | None,
        typer.Option(
            envvar="PROFILE",
            help="Record the operator by py-spy: FILE.svg as a flame graph, FILE.json for speedscope.",
        ),
    ] = None,
    steady_seconds: Annotated[
        float | None,
        typer.Option(
            envvar="STEADY",
            min=1,
            help="How long the operator is let be, in seconds. Default: 600, with --check 30.",
        ),
    ] = None,
    lws: Annotated[
        Path | None,
        typer.Option(envvar="BENCH_LWS", help="Checkout of sigs.k8s.io/lws, to be measured beside us."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Small shapes with wide bounds, which a regression exceeds.")
    ] = False,
    document: Annotated[
        bool,
        typer.Option(
            "--document", envvar="DOCUMENT", help="Write docs/performance.md also when parts were chosen."
        ),
    ] = False,
    output: Annotated[
        Path | None, typer.Option(envvar="JSON", help="Write the figures to this file as JSON.")
    ] = None,
) -> None:
    """Measure the operator beside the floor on a private control plane with simulated pods."""
    # kubectl keeps what it learns of an API server; of these there is a new one every time.
    os.environ.setdefault("KUBECACHEDIR", str(Path(tempfile.gettempdir()) / "disagg-bench-kubectl"))
    progress, figures, facts = Progress(), Figures(), circumstances()
    wanted, shapes = _wanted(parts), SHORT if check else FULL
    steady = steady_seconds or (_SHORT_STEADY if check else _STEADY)
    with tempfile.TemporaryDirectory(prefix="disagg-bench-", ignore_cleanup_errors=True) as directory:
        bench = Bench(Path(directory), progress, figures, shapes, steady, lws, profile and profile.resolve())
        for scenario, asked in chosen(wanted):
            with bench.attempt(", ".join(sorted(asked))):
                asyncio.run(scenario.run(bench, asked))
    bounds = targets(shapes, check=check)
    shown = measured(figures, bounds) if parts else bounds
    print(plain(rows(figures, shown)))
    for remark in remarks(figures):
        print(f"- {remark}")
    if output is not None:
        output.write_text(_as_json(figures, facts), encoding="utf-8")
    if document or not (check or parts):
        _document(figures, shown, facts)
        progress.note(f"written: {DOCUMENT.name}, {DATA.name} and {IMAGES.name}/ in {DOCUMENT.parent.name}/")
    if figures.failures or any(target.reached(figures) is Reached.NO for target in shown):
        raise typer.Exit(1)


def _document(figures: Figures, shown: Sequence[Target], facts: Mapping[str, str]) -> None:
    """Put the result into the documentation."""
    pictures = []
    for what in (CREATED, AVAILABLE):
        path = IMAGES / f"operator-{what.lower()}.svg"
        title = f"Seconds until all is {what}"
        path.write_text(bars(title, "s", groups(figures, what), SIDES), encoding="utf-8")
        pictures.append(f"{IMAGES.name}/{path.name}")
    DATA.write_text(_as_json(figures, facts), encoding="utf-8")
    text = section(figures, shown, facts, pictures)
    DOCUMENT.write_text(inserted(DOCUMENT.read_text(encoding="utf-8"), text), encoding="utf-8")


def _as_json(figures: Figures, facts: Mapping[str, str]) -> str:
    found = {"circumstances": facts, **asdict(figures)}
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def _wanted(parts: str) -> list[str]:
    wanted = [part.strip() for part in parts.split(",") if part.strip()]
    unknown = [part for part in wanted if part not in PARTS]
    if unknown:
        raise typer.BadParameter(f"PARTS={parts}: no part {unknown[0]!r}; there are: {', '.join(PARTS)}")
    return wanted or list(PARTS)


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command()(main)
    app()
