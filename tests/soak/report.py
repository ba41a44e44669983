"""What a soak showed, for people and for programs: a table, a picture, and JSON."""

import itertools
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from disagg_operator.cli.drawing import COLOURS, GREY, drawn
from soak.sampling import Sample
from soak.soak import Result

_CURVES: tuple[tuple[str, Callable[[Sample], float]], ...] = (
    ("deployments", lambda each: each.deployments),
    ("anonymous memory, MB", lambda each: each.anonymous),
    ("tasks of the event loop", lambda each: each.tasks),
    ("file descriptors", lambda each: each.files),
    ("deployments in the queue", lambda each: each.waiting),
)


def table(result: Result) -> str:
    """Return the figures as a Markdown table: at the beginning, at work, and after each half."""
    assert result.base is not None
    assert result.through is not None
    start, end = result.stretch
    working = [each for each in result.samples if start <= each.seconds <= end]
    first, second = (half.sample for half in result.halves)
    rows = [
        "| | at the start | second half, median / most | empty after first half | after second half |",
        "|---|---|---|---|---|",
    ]
    columns: tuple[tuple[str, Callable[[Sample], float]], ...] = (
        ("RSS, MB", lambda each: each.resident),
        ("of it anonymous, MB", lambda each: each.anonymous),
        ("threads", lambda each: each.threads),
        ("file descriptors", lambda each: each.files),
        ("sockets", lambda each: each.sockets),
        ("tasks", lambda each: each.tasks),
        ("queue", lambda each: each.waiting),
        ("reconciled later", lambda each: each.delayed),
        ("objects in the caches", lambda each: each.cached),
    )
    for name, of in columns:
        values = sorted(of(each) for each in working)
        middle, most = values[len(values) // 2], values[-1]
        rows.append(f"| {name} | {of(result.base)} | {middle} / {most} | {of(first)} | {of(second)} |")
    counted = [sum(half.objects.values()) for half in result.halves]
    rows.append(f"| Python objects | | | {counted[0]} | {counted[1]} |")
    return "\n".join(rows)


def summary(result: Result) -> str:
    """Return all that people want to know."""
    assert result.through is not None
    plan, last = result.plan, result.samples[-1]
    actions = ", ".join(f"{count} {kind}" for kind, count in result.done.items())
    lines = [
        f"{plan.minutes:g} min of churn with {plan.deployments} deployments on {plan.machines} machines, "
        f"seed {plan.seed}: {actions}.",
        "",
        table(result),
        "",
        f"Memory in the second half: {result.through.per_hour:+.2f} MB an hour by the line that fits best; "
        f"{result.through.growth:+.1%} from its first third to its last.",
        f"The queue was empty {' and '.join(map(str, result.calmed))} s after the churn of each half.",
        f"Reconciles of the last process: {last.reconciles}; its requests: {last.requests}.",
        f"Objects left over: {len(result.left)}. The Lease was lost {result.lost} times.",
    ]
    return "\n".join([*lines, "", *(result.faults or ["Nothing leaks."])])


def write(result: Result, folder: Path) -> None:
    """Write `soak.json`, `soak.svg` and `soak.md` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "soak.json").write_text(json.dumps(asdict(result), indent=1))
    (folder / "soak.svg").write_text(picture(result))
    (folder / "soak.md").write_text(summary(result) + "\n")


def picture(result: Result) -> str:
    """Return curves over time as SVG: one strip each; restarts as dashed lines."""
    samples = result.samples
    minutes = [each.seconds / 60 for each in samples]
    restarts = [
        after.seconds / 60 for before, after in itertools.pairwise(samples) if before.process != after.process
    ]
    with drawn(9, 1.5 * len(_CURVES), len(_CURVES)) as picture:
        for axes, (name, of) in zip(picture.axes, _CURVES, strict=True):
            axes.plot(minutes, [of(each) for each in samples], color=COLOURS[0])
            axes.set_ylim(bottom=0)
            axes.set_title(name, loc="left")
            axes.grid(visible=True)
            for at in restarts:
                axes.axvline(at, color=GREY, linestyle="--", linewidth=1)
        picture.axes[-1].set_xlabel("minutes")
        return picture.svg()
