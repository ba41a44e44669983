"""Figures as a table: for the terminal, and as Markdown between the markers of a document. Pure."""

from collections.abc import Mapping, Sequence

from bench.operator.figures import SIDES, Figures
from bench.operator.targets import Reached, Target

BEGIN, END = "<!-- begin: make bench-operator -->", "<!-- end: make bench-operator -->"
_WORDS = {Reached.YES: "yes", Reached.NO: "**no**", Reached.UNKNOWN: "not measured", Reached.NONE: ""}


def rows(figures: Figures, targets: Sequence[Target]) -> list[list[str]]:
    """Return the table: a heading, and a row for each figure that was measured or should have been."""
    sides = [side for side in SIDES if any(side in values for values in figures.values.values())]
    table = [["", *sides, "ours / floor", "must be", "is it"]]
    for target in targets:
        reached = target.reached(figures)
        if target.name not in figures.values and reached is not Reached.UNKNOWN:
            continue
        ratio = target.ratio(figures)
        shown = [number(figures.get(target.name, side), target.unit) for side in sides]
        table.append(
            [
                target.name,
                *shown,
                "" if ratio is None else f"{ratio:.2f}",
                target.bound,
                _WORDS[reached],
            ]
        )
    return table


def measured(figures: Figures, targets: Sequence[Target]) -> list[Target]:
    """Return the targets of which there is any figure."""
    return [target for target in targets if target.name in figures.values]


def number(value: float | None, unit: str) -> str:
    """Return a figure for people, with three digits that count."""
    if value is None:
        return ""
    digits = 0 if abs(value) >= 100 or value == int(value) else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f} {unit}".strip()


def markdown(table: Sequence[Sequence[str]]) -> str:
    """Return a table as Markdown; its first column is text, the others are numbers."""
    heading, *body = table
    rule = ["---", *("---:" for _ in heading[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heading, rule, *body))


def plain(table: Sequence[Sequence[str]]) -> str:
    """Return a table for a terminal or a pipe."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = []
    for row in table:
        cells = [row[0].ljust(widths[0])]
        cells += [
            cell.replace("**", "").rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def remarks(figures: Figures) -> list[str]:
    """Return sentences about figures, and why parts are missing."""
    said = [f"{name}: {remark}" for name, remark in figures.remarks.items()]
    return said + [f"NOT MEASURED, {part}: {why}" for part, why in figures.failures.items()]


def section(
    figures: Figures, targets: Sequence[Target], circumstances: Mapping[str, str], pictures: Sequence[str]
) -> str:
    """Return what a document says of a run: circumstances, table, pictures and remarks, as Markdown."""
    told = "; ".join(f"{name} {value}" for name, value in circumstances.items())
    shown = [f"![{path.rpartition('/')[2].partition('.')[0]}]({path})" for path in pictures]
    listed = "\n".join(f"- {remark}" for remark in remarks(figures))
    return "\n\n".join([f"{told}.", markdown(rows(figures, targets)), *shown, listed])


def groups(figures: Figures, what: str) -> dict[str, dict[str, float]]:
    """Return the figures that are about shapes and of this kind, by shape, for a picture."""
    ending = f": {what}"
    return {
        name.removesuffix(ending): dict(values)
        for name, values in figures.values.items()
        if name.endswith(ending)
    }


def inserted(document: str, text: str) -> str:
    """Return a document with the text between its markers, in place of what was there.

    Raises:
        ValueError: the document lacks the markers.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document lacks the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{text.strip()}\n\n{END}{after}"
