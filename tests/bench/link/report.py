"""Tables of the figures."""

from collections.abc import Callable, Mapping, Sequence

from rich.console import Console
from rich.table import Table

from bench.link.measuring import MIB, Figures


def rate(row: Figures, of: str = "seconds") -> float:
    """GB/s of a row by one of its times; 0 if that was not measured."""
    return row["bytes"] / row[of] / 1e9 if row.get(of) else 0.0


def show(found: Figures, console: Console) -> None:
    """Print what was measured."""
    console.print(f"between two of: {found.get('device', '')}; GB/s")
    columns = ("by block", "ours", "one READ", "copy", "ours / copy", "ours / by block", "ms", "whole")
    for part, names in NAMES.items():
        rows = [
            (*(str(row[name]) for name in names), *(_rates(row) if "failed" not in row else [row["failed"]]))
            for row in found.get(part, [])
        ]
        _table(console, part, (*names, *columns), rows)
    for part, cells in CELLS.items():
        rows = [tuple(cell(row) for cell in cells.values()) for row in found.get(part, [])]
        _table(console, part, tuple(cells), rows)


NAMES: Mapping[str, Sequence[str]] = {
    "models": ("model", "tokens"),
    "changes": ("change", "tokens"),
    "settings": ("setting",),
}
CELLS: Mapping[str, Mapping[str, Callable[[Figures], str]]] = {
    "break-even": {
        "MiB": lambda row: str(row["bytes"] // MIB),
        "piece KiB": lambda row: str(row["piece"] >> 10),
        "staged ms": lambda row: f"{row['staged'] * 1e3:.3f}",
        "direct ms": lambda row: f"{row['direct'] * 1e3:.3f}",
    },
    "staging": {
        "slots": lambda row: str(row["slots"]),
        "MiB each": lambda row: f"{row['slot_bytes'] / MIB:g}",
        "GB/s": lambda row: f"{rate(row):.1f}",
    },
    "layerwise": {
        "us a layer": lambda row: f"{row['layer_seconds'] * 1e6:.0f}",
        "after the last layer, ms": lambda row: f"{row['tail_seconds'] * 1e3:.3f}",
        "one READ of all, ms": lambda row: f"{row['one_piece'] * 1e3:.3f}",
    },
    "breakdown": {
        "model": lambda row: row["model"],
        "tokens": lambda row: str(row["tokens"]),
        "before the wire, ms": lambda row: f"{row['before'] * 1e3:.3f}",
        "READs, ms": lambda row: f"{row['busy'] * 1e3:.3f}",
        "between READs, ms": lambda row: f"{row['idle'] * 1e3:.3f}",
        "after the wire, ms": lambda row: f"{row['after'] * 1e3:.3f}",
        "one READ of all, ms": lambda row: f"{row['one_piece'] * 1e3:.3f}",
    },
    "decode": {
        "prompts/s": lambda row: str(row["rate"]),
        "limit GB/s": lambda row: f"{row['most'] / 1e9:g}" if row.get("most") else "",
        "arrived": lambda row: str(row["prompts"]),
        "GB/s": lambda row: f"{row['prompts'] / row['seconds'] * row['bytes'] / 1e9:.1f}",
        "decode steps/s": lambda row: f"{row['steps_per_second']:.1f}",
        "ms a prompt": lambda row: f"{(row['prompt_seconds'] or 0) * 1e3:.2f}",
    },
}


def _rates(row: Figures) -> tuple[str, ...]:
    ours, copy, block = rate(row), rate(row, "copy"), rate(row, "by_block")
    return (
        f"{block:.2f}" if block else "",
        f"{ours:.2f}",
        f"{rate(row, 'one_piece'):.2f}",
        f"{copy:.2f}",
        f"{ours / copy:.3f}",
        f"{ours / block:.1f}" if block else "",
        f"{row['seconds'] * 1e3:.3f}",
        "" if row.get("whole", True) else "DAMAGED",
    )


def _table(console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    if rows:
        table = Table(*columns, title=title)
        for row in rows:
            table.add_row(*row)
        console.print(table)
