"""Lines over a logarithmic axis, as SVG. Pure."""

import math
from collections.abc import Mapping, Sequence

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM, _RIGHT = 620, 300, 60, 40, 48, 190
_COLOURS = ("#1f77b4", "#9e9e9e", "#2ca02c", "#d62728", "#9467bd", "#c5b358", "#8c564b", "#17becf")

Line = Sequence[tuple[float, float]]


def lines(title: str, across: str, up: str, series: Mapping[str, Line], *, logarithmic: bool = False) -> str:
    """Draw lines.

    Args:
        title: Above all.
        across: Of the horizontal axis, which is logarithmic.
        up: Of the vertical one.
        series: Points of each line, by its name.
        logarithmic: Whether the vertical axis is, too.
    """
    xs = sorted({x for line in series.values() for x, _ in line})
    ys = [y for line in series.values() for _, y in line]
    low, high = (min(ys), max(ys)) if logarithmic else (0.0, max(ys) * 1.05)

    def place(x: float, y: float) -> tuple[float, float]:
        width = math.log(xs[-1] / xs[0]) or 1.0
        part = math.log(y / low) / math.log(high / low) if logarithmic else y / high
        return (
            _LEFT + math.log(x / xs[0]) / width * (_WIDTH - _LEFT),
            _HEIGHT - _BOTTOM - part * (_HEIGHT - _BOTTOM - _TOP),
        )

    parts = [_text(_LEFT, 20, title, weight="bold")]
    for x in xs:
        parts.append(_text(place(x, high)[0], _HEIGHT - _BOTTOM + 16, _short(x), anchor="middle"))
    for step in range(5):
        y = low * (high / low) ** (step / 4) if logarithmic else high * step / 4
        height = place(xs[0], y)[1] if y or not logarithmic else _HEIGHT - _BOTTOM
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH}" y1="{height:.1f}" y2="{height:.1f}" stroke="#dddddd"/>'
        )
        parts.append(_text(_LEFT - 6, height + 4, f"{y:.3g}", anchor="end"))
    parts.append(_text(_WIDTH, _HEIGHT - 12, across, anchor="end"))
    parts.append(_text(6, _TOP - 4, up))
    for line, colour in zip(series.values(), _COLOURS, strict=False):
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in line))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
    for number, (name, colour) in enumerate(zip(series, _COLOURS, strict=False)):
        y = _TOP + 18 * number
        parts.append(f'<rect x="{_WIDTH + 16}" y="{y}" width="10" height="10" fill="{colour}"/>')
        parts.append(_text(_WIDTH + 31, y + 10, name))
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH + _RIGHT} {_HEIGHT}" '
        f'font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n{body}\n'
        "</svg>\n"
    )


def _short(value: float) -> str:
    for unit, size in (("M", 1 << 20), ("k", 1 << 10)):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def _text(x: float, y: float, words: str, *, anchor: str = "start", weight: str = "normal") -> str:
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" font-weight="{weight}" fill="#333333">'
        f"{words}</text>"
    )
