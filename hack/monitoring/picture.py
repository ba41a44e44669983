"""A picture of a dashboard: its panels where Grafana puts them, with what a Prometheus answered.

It shows what the queries find, not how Grafana looks.

Invariant: pure; the same answers give the same picture.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator

from disagg_operator.cli.drawing import COLOURS, FAINT, GREY, INK, Picture, drawn

Series = Mapping[str, Any]
Ask = Callable[[str, bool], list[Series]]
"""Returns the series of a query: over the whole time if so asked, otherwise as they are at its end."""

_WIDTH, _UNIT = 13.0, 0.27
_COLUMNS = 24
_MARGIN, _GAP = 0.12, 0.04
_INSET, _WORDS = 0.55, 0.2
_LEGEND = 4
_SCALES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
_SUFFIXES = {"reqps": " req/s", "Bps": "B/s", "bytes": "B", "ops": "/s", "cpm": "/min", "short": ""}
_SCALED = {"Bps", "bytes"}


def picture(board: Mapping[str, Any], ask: Ask) -> str:
    """Return a dashboard as SVG.

    Args:
        board: Grafana's JSON of it.
        ask: answers its queries.
    """
    panels = board["panels"]
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels) * _UNIT
    with drawn(_WIDTH, height, rows=0) as sheet:
        for panel in panels:
            _draw(sheet, panel, ask, height)
        return sheet.svg()


def shown(value: float, unit: str) -> str:
    """Return a number with its unit, as people read it."""
    if unit == "s":
        return f"{value:.3g} s" if value >= 1 or value == 0 else f"{value * 1e3:.3g} ms"
    if unit == "percentunit":
        return f"{value:.0%}"
    suffix = _SUFFIXES.get(unit, unit.replace("suffix:", " "))
    if unit not in _SCALED:
        return f"{value:.3g}{suffix}"
    size, letter = next((each for each in _SCALES if abs(value) >= each[0]), _SCALES[-1])
    return f"{value / size:.3g} {letter}{suffix}"


def named(legend: str, labels: Mapping[str, str]) -> str:
    """Return the name of a series, as its legend is written."""
    return re.sub(r"{{\s*(\w+)\s*}}", lambda found: labels.get(found[1], ""), legend).strip()


def _draw(sheet: Picture, panel: Mapping[str, Any], ask: Ask, height: float) -> None:
    place = panel["gridPos"]
    left, bottom = place["x"] / _COLUMNS * _WIDTH, height - (place["y"] + place["h"]) * _UNIT
    width, tall = place["w"] / _COLUMNS * _WIDTH, place["h"] * _UNIT
    if panel["type"] == "row":
        sheet.figure.text(
            _MARGIN / _WIDTH, (bottom + 0.06) / height, panel["title"], fontsize=11, fontweight="bold"
        )
        return
    corner = ((left + _GAP) / _WIDTH, (bottom + _GAP) / height)
    size = ((width - 2 * _GAP) / _WIDTH, (tall - 2 * _GAP) / height)
    sheet.figure.add_artist(Rectangle(corner, *size, fill=False, edgecolor=FAINT))
    inset = _INSET if panel["type"] == "timeseries" else 0.1
    below = _WORDS + 0.15 * _LEGEND if panel["type"] == "timeseries" else 0.1
    box = (left + _MARGIN + inset, bottom + _MARGIN + below, width - 2 * _MARGIN - inset, 0.0)
    inner = tall - 2 * _MARGIN - below - 0.22
    axes = sheet.figure.add_axes((box[0] / _WIDTH, box[1] / height, box[2] / _WIDTH, inner / height))
    axes.set_title(panel["title"], fontsize=9, loc="left", x=-inset / box[2], color=INK, pad=4)
    _PANELS[panel["type"]](axes, panel, ask)


def _lines(axes: Axes, panel: Mapping[str, Any], ask: Ask) -> None:
    unit = panel["fieldConfig"]["defaults"].get("unit", "short")
    found = [
        (named(target["legendFormat"], each["metric"]), each["values"])
        for target in panel["targets"]
        for each in ask(target["expr"], True)
    ]
    drawn_lines = [(name, _finite(values)) for name, values in sorted(found)]
    drawn_lines = [(name, points) for name, points in drawn_lines if points]
    axes.tick_params(labelsize=7, length=2)
    axes.grid(visible=True)
    if not drawn_lines:
        _nothing(axes)
        return
    start = min(points[0][0] for _, points in drawn_lines)
    for number, (name, points) in enumerate(drawn_lines):
        axes.plot(
            [(when - start) / 60 for when, _ in points],
            [value for _, value in points],
            color=COLOURS[number % len(COLOURS)],
            linewidth=1.1,
            label=f"{name}  {shown(points[-1][1], unit)}",
        )
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value, unit)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} min"))
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(
        handles[:_LEGEND],
        [*labels[: _LEGEND - 1], _last(labels)][: len(labels)],
        loc="upper left",
        bbox_to_anchor=_below(axes),
        fontsize=7,
        borderpad=0,
        labelspacing=0.15,
    )


def _below(axes: Axes) -> tuple[float, float]:
    """Return where the legend begins, in shares of the axes: below its words, left of its numbers."""
    inch = axes.figure.dpi
    return -_INSET * inch / axes.bbox.width, -_WORDS * inch / axes.bbox.height


def _last(labels: list[str]) -> str:
    """Return the last line of a legend, which says how many there are besides."""
    more = len(labels) - _LEGEND
    return labels[-1] if more <= 0 else f"{labels[_LEGEND - 1]}, and {more} more"


def _number(axes: Axes, panel: Mapping[str, Any], ask: Ask) -> None:
    axes.set_axis_off()
    defaults = panel["fieldConfig"]["defaults"]
    words = _words(defaults)
    (target,) = panel["targets"]
    series = ask(target["expr"], False)
    if not series:
        _nothing(axes)
        return
    for number, each in enumerate(series):
        value = each["value"][1]
        text, colour = words.get(value, (shown(float(value), defaults.get("unit", "short")), INK))
        middle = 1 - (number + 0.5) / len(series)
        name = named(target.get("legendFormat", ""), each["metric"])
        axes.text(
            0.5, middle + (0.08 if name else 0), text, fontsize=15, color=colour, ha="center", va="center"
        )
        axes.text(0.5, middle - 0.3 / len(series), name, fontsize=7, color=GREY, ha="center", va="center")


def _rows(axes: Axes, panel: Mapping[str, Any], ask: Ask) -> None:
    axes.set_axis_off()
    (target,) = panel["targets"]
    (organised,) = panel["transformations"]
    columns = organised["options"]["renameByName"]
    words = _words(panel["fieldConfig"]["defaults"])
    table = [list(columns.values())]
    for each in ask(target["expr"], False):
        said = {**each["metric"], "Value": words.get(each["value"][1], (each["value"][1], INK))[0]}
        table.append([said.get(label, "") for label in columns])
    if len(table) == 1:
        _nothing(axes)
    for row, cells in enumerate(table):
        for column, cell in enumerate(cells):
            weight = "bold" if row == 0 else "normal"
            axes.text(column / len(cells), 0.95 - row * 0.13, cell, fontsize=8, va="top", fontweight=weight)


def _timeline(axes: Axes, panel: Mapping[str, Any], ask: Ask) -> None:
    (target,) = panel["targets"]
    words = _words(panel["fieldConfig"]["defaults"])
    series = ask(target["expr"], True)
    axes.set_axis_off()
    if not series:
        _nothing(axes)
    for number, each in enumerate(series):
        times = [float(when) for when, _ in each["values"]]
        step = times[1] - times[0] if len(times) > 1 else 1.0
        colours = [words.get(value, ("", FAINT))[1] for _, value in each["values"]]
        bars = [(when, step) for when in times]
        axes.broken_barh(bars, (number, 0.6), facecolors=colours, edgecolors=colours, linewidth=0.5)
        axes.text(times[0], number + 0.65, named(target["legendFormat"], each["metric"]), fontsize=7)


def _words(defaults: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return the text and the colour that stand for values."""
    return {
        value: (result["text"], _plain(result["color"]))
        for mapping in defaults.get("mappings", ())
        for value, result in mapping["options"].items()
    }


def _plain(colour: str) -> str:
    """Return a colour of Grafana's as one that is read on white."""
    return {"green": "#2e7d32", "red": "#c62828", "yellow": "#f9a825"}.get(colour, colour)


def _nothing(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.text(0.5, 0.5, "no data", transform=axes.transAxes, fontsize=9, color=GREY, ha="center", va="center")


def _finite(values: Iterable[tuple[float, str]]) -> list[tuple[float, float]]:
    return [(float(when), float(value)) for when, value in values if value not in ("NaN", "+Inf", "-Inf")]


_PANELS: dict[str, Callable[[Axes, Mapping[str, Any], Ask], None]] = {
    "timeseries": _lines,
    "stat": _number,
    "table": _rows,
    "state-timeline": _timeline,
}
