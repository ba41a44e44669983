"""Bars of the sides beside each other, by shape, as SVG."""

from collections.abc import Mapping, Sequence

from disagg_operator.cli.drawing import drawn

COLOURS = {"floor": "#9e9e9e", "all children": "#c5b358", "ours": "#1f77b4", "LWS": "#d62728"}
_THICK, _APART = 0.8, 1.6

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
    drawn_sides = [side for side in sides if any(side in group for group in values.values())]
    count = sum(len(group) for group in values.values())
    with drawn(8.5, 0.9 + 0.22 * count + 0.17 * len(values)) as picture:
        (axes,) = picture.axes
        named, places, y = list(values), [], 0.0
        for group in values.values():
            shown = [side for side in drawn_sides if side in group]
            places.append(y + (len(shown) - 1) / 2)
            for side in shown:
                (bar,) = axes.barh(y, group[side], height=_THICK, color=COLOURS[side])
                axes.annotate(
                    _told(group, side, sides[0], unit),
                    (bar.get_width(), y),
                    (4, 0),
                    textcoords="offset points",
                    va="center",
                )
                y += 1
            y += _APART - 1
        axes.set_yticks(places, named)
        axes.tick_params(axis="y", length=0)
        axes.invert_yaxis()
        axes.margins(x=0.2)
        axes.set_xlim(left=0)
        axes.grid(visible=True, axis="x")
        handles = [axes.barh(0, 0, color=COLOURS[side], label=side) for side in drawn_sides]
        axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1, 1))
        axes.set_title(title)
        return picture.svg()


def _told(group: Mapping[str, float], side: str, base: str, unit: str) -> str:
    told = f"{group[side]:.1f} {unit}"
    return told if side == base or not group.get(base) else f"{told} ({group[side] / group[base]:.2f} ×)"  # noqa: RUF001
