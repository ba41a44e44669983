"""Rows of a benchmark and how they are shown."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

import typer
from rich.console import Console
from rich.table import Table


class Output(StrEnum):
    """Forms of the result."""

    TABLE = "table"
    JSON = "json"


@dataclass(frozen=True)
class Row:
    """One measurement beside what it is compared with, taken in the same run.

    Attributes:
        name: What was measured.
        value: Ours, in `unit`.
        against: What `baseline` is.
        baseline: The other's, in `unit`.
        unit: Of both.
        target: Bound of the ratio value / baseline; None where the ratio only informs.
        upper: Whether the target is the most that is allowed, rather than the least.
    """

    name: str
    value: float
    against: str
    baseline: float
    unit: str
    target: float | None = None
    upper: bool = False

    @property
    def ratio(self) -> float:
        """Our value as a share of the baseline."""
        return self.value / self.baseline

    @property
    def met(self) -> bool:
        """Whether the ratio keeps its target; true where there is none."""
        if self.target is None:
            return True
        return self.ratio <= self.target if self.upper else self.ratio >= self.target


def report(rows: Sequence[Row], output: Output, title: str) -> None:
    """Print the rows, and exit with status 1 where a target was missed."""
    if output is Output.JSON:
        print(as_json(rows))
    else:
        show(rows, Console(), title)
    if not all(row.met for row in rows):
        raise typer.Exit(1)


def show(rows: Sequence[Row], console: Console, title: str) -> None:
    """Print rows as a table for people."""
    table = Table(title=title)
    for heading in ("measurement", "ours", "against", "", "ratio", "target", ""):
        table.add_column(heading, justify="left" if heading in {"measurement", "against"} else "right")
    for row in rows:
        bound = "" if row.target is None else f"{'≤' if row.upper else '≥'} {row.target:.2f}"
        verdict = "" if row.target is None else "met" if row.met else "[bold red]missed"
        ours, other = (f"{number:,.1f} {row.unit}" for number in (row.value, row.baseline))
        table.add_row(row.name, ours, row.against, other, f"{row.ratio:.2f}", bound, verdict)
    console.print(table)


def as_json(rows: Sequence[Row]) -> str:
    """Return rows as a JSON list."""
    return json.dumps([{**asdict(row), "ratio": row.ratio, "met": row.met} for row in rows], indent=2)
