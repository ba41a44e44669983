"""What a soak showed, for people and for programs: a table, a picture, and JSON."""

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from soak.sampling import Sample
from soak.soak import Result

_WIDTH, _HEIGHT, _GAP, _LEFT = 900, 130, 34, 64
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
    """Return curves over time as SVG: one strip each, with its highest value; restarts as dashed lines."""
    samples = result.samples
    height = len(_CURVES) * (_HEIGHT + _GAP) + _GAP
    longest = samples[-1].seconds or 1.0
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH + _LEFT + 20} {height}" '
        'font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    restarts = [
        after.seconds for before, after in itertools.pairwise(samples) if before.process != after.process
    ]
    for number, (name, of) in enumerate(_CURVES):
        top = number * (_HEIGHT + _GAP) + _GAP
        parts += _strip(name, [(each.seconds / longest, of(each)) for each in samples], top)
        for at in restarts:
            x = _LEFT + at / longest * _WIDTH
            ends = f'x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{top + _HEIGHT}"'
            parts.append(f'<line {ends} stroke="#999" stroke-dasharray="4 4"/>')
    parts.append(f'<text x="{_LEFT}" y="{height - 8}">0</text>')
    parts.append(
        f'<text x="{_LEFT + _WIDTH}" y="{height - 8}" text-anchor="end">{longest / 60:.1f} min</text></svg>'
    )
    return "\n".join(parts) + "\n"


def _strip(name: str, points: Sequence[tuple[float, float]], top: int) -> list[str]:
    most = max(value for _, value in points) or 1.0
    line = " ".join(
        f"{_LEFT + at * _WIDTH:.1f},{top + _HEIGHT - value / most * _HEIGHT:.1f}" for at, value in points
    )
    return [
        f'<text x="{_LEFT}" y="{top - 6}">{name}</text>',
        f'<text x="{_LEFT - 6}" y="{top + 10}" text-anchor="end">{most:g}</text>',
        f'<text x="{_LEFT - 6}" y="{top + _HEIGHT}" text-anchor="end">0</text>',
        f'<rect x="{_LEFT}" y="{top}" width="{_WIDTH}" height="{_HEIGHT}" fill="none" stroke="#ccc"/>',
        f'<polyline points="{line}" fill="none" stroke="#1f5fa8" stroke-width="1.5"/>',
    ]
