"""Where two curves over the length of a prompt cross, and their picture. Pure."""

import math
from collections.abc import Mapping, Sequence

WIDTH, HEIGHT, MARGIN = 640, 360, 60
COLOURS = ("#1f77b4", "#d62728")

Curve = Mapping[int, float]
"""Milliseconds by tokens of the prompt."""


def crossover(local: Curve, transferred: Curve) -> float | None:
    """Return the length in tokens from which on it is better to transfer, or None where there is none.

    Between two measured lengths both are taken for straight over the logarithm of the length.
    """
    lengths = sorted(local)
    more = [local[length] - transferred[length] for length in lengths]
    for (short, before), (long, after) in zip(
        zip(lengths, more, strict=True), list(zip(lengths, more, strict=True))[1:], strict=False
    ):
        if before <= 0 < after:
            share = -before / (after - before)
            return math.exp(math.log(short) + share * (math.log(long) - math.log(short)))
    return None


def picture(title: str, curves: Mapping[str, Curve], crossing: float | None) -> str:
    """Draw curves as SVG, both axes logarithmic, and a line where two of them cross."""
    points = [(length, value) for curve in curves.values() for length, value in curve.items()]
    across = [math.log(length) for length, _ in points]
    up = [math.log(value) for _, value in points]

    def x(length: float) -> float:
        return MARGIN + (math.log(length) - min(across)) / (max(across) - min(across)) * (WIDTH - 2 * MARGIN)

    def y(value: float) -> float:
        return HEIGHT - MARGIN - (math.log(value) - min(up)) / (max(up) - min(up)) * (HEIGHT - 2 * MARGIN)

    parts = [
        _text(WIDTH / 2, 24, title, "middle"),
        _text(WIDTH / 2, HEIGHT - 12, "tokens of the prompt", "middle"),
    ]
    parts += [
        _text(x(length), HEIGHT - MARGIN + 18, str(length), "middle")
        for length in sorted({p[0] for p in points})
    ]
    for value in (min(p[1] for p in points), max(p[1] for p in points)):
        parts.append(_text(MARGIN - 6, y(value) + 4, f"{value:.0f} ms", "end"))
    for (name, curve), colour in zip(curves.items(), COLOURS, strict=True):
        parts.append(_line([(x(length), y(curve[length])) for length in sorted(curve)], colour, name))
        last = max(curve)
        parts.append(_text(x(last) - 4, y(curve[last]) - 8, name, "end", colour))
    if crossing is not None:
        parts.append(_line([(x(crossing), MARGIN), (x(crossing), HEIGHT - MARGIN)], "#888888", "crossover"))
        parts.append(_text(x(crossing) + 4, MARGIN + 4, f"{crossing:.0f} tokens", "start", "#888888"))
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )


def _text(x: float, y: float, words: str, anchor: str, colour: str = "#333333") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="{colour}">{words}</text>'


def _line(points: Sequence[tuple[float, float]], colour: str, name: str) -> str:
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    style = f'fill="none" stroke="{colour}" stroke-width="2"'
    return f'<polyline points="{joined}" {style}><title>{name}</title></polyline>'
