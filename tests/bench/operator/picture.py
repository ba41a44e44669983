"""Bars of the sides beside each other, by shape, as SVG. Pure."""

from collections.abc import Mapping, Sequence

COLOURS = {"floor": "#9e9e9e", "all children": "#c5b358", "ours": "#1f77b4", "LWS": "#d62728"}
_LABELS, _WIDTH, _RIGHT = 190, 760, 70
_BAR, _GAP, _TOP = 15, 14, 58

Bars = Mapping[str, Mapping[str, float]]
"""Values by group and by side."""


def bars(title: str, unit: str, values: Bars, sides: Sequence[str]) -> str:
    """Draw groups of horizontal bars, each with its value and its multiple of the first side.

    Args:
        title: above all.
        unit: of the values.
        values: by group, top to bottom, and by side.
        sides: in their order; the first is what the others are compared with.
    """
    drawn = [side for side in sides if any(side in group for group in values.values())]
    largest = max((value for group in values.values() for value in group.values()), default=1.0)
    parts = [_text(_LABELS, 22, title, weight="bold")]
    for number, side in enumerate(drawn):
        x = _LABELS + 120 * number
        parts.append(f'<rect x="{x}" y="34" width="10" height="10" fill="{COLOURS[side]}"/>')
        parts.append(_text(x + 15, 43, side))
    y = _TOP
    for name, group in values.items():
        shown = [side for side in drawn if side in group]
        parts.append(_text(_LABELS - 8, y + len(shown) * _BAR / 2 + 4, name, anchor="end"))
        base = group.get(sides[0])
        for side in shown:
            length = group[side] / largest * (_WIDTH - _LABELS - _RIGHT)
            told = f"{group[side]:.1f} {unit}"
            if base and side != sides[0]:
                told += f" ({group[side] / base:.2f} ×)"  # noqa: RUF001
            parts.append(
                f'<rect x="{_LABELS}" y="{y}" width="{length:.1f}" height="{_BAR - 3}" '
                f'fill="{COLOURS[side]}"><title>{name}, {side}</title></rect>'
            )
            parts.append(_text(_LABELS + length + 5, y + _BAR - 5, told, size=11))
            y += _BAR
        y += _GAP
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH + _RIGHT} {y}" '
        f'font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n'
        f"{body}\n</svg>\n"
    )


def _text(
    x: float, y: float, words: str, *, anchor: str = "start", weight: str = "normal", size: int = 12
) -> str:
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" font-weight="{weight}" font-size="{size}" '
        f'fill="#333333">{words}</text>'
    )
