"""Lines over a logarithmic axis, as SVG."""

from collections.abc import Mapping, Sequence

from disagg_operator.cli.drawing import COLOURS, GREY, drawn

Line = Sequence[tuple[float, float]]


def lines(
    title: str,
    across: str,
    up: str,
    series: Mapping[str, Line],
    *,
    logarithmic: bool = False,
    mark: tuple[float, str] | None = None,
) -> str:
    """Draw lines.

    Args:
        title: Above all.
        across: Of the horizontal axis, which is logarithmic.
        up: Of the vertical one.
        series: Points of each line, by its name.
        logarithmic: Whether the vertical axis is, too.
        mark: Where across a dotted line stands, and what is beside it.
    """
    xs = sorted({x for line in series.values() for x, _ in line})
    with drawn(7.5, 3.6) as picture:
        (axes,) = picture.axes
        axes.set_xscale("log", base=2)
        if logarithmic:
            axes.set_yscale("log")
        for (name, line), colour in zip(series.items(), COLOURS, strict=False):
            axes.plot(
                *zip(*line, strict=True), color=colour, linewidth=2, marker="o", markersize=3, label=name
            )
        axes.set_xticks(xs, [_short(x) for x in xs])
        axes.minorticks_off()
        axes.yaxis.set_major_formatter("{x:g}")
        if not logarithmic:
            axes.set_ylim(bottom=0)
        axes.grid(visible=True)
        if mark is not None:
            axes.axvline(mark[0], color=GREY, linestyle=":")
            axes.text(mark[0] * 1.05, 0.02, mark[1], color=GREY, transform=axes.get_xaxis_transform())
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        axes.set_title(title)
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        return picture.svg()


def _short(value: float) -> str:
    for unit, size in (("M", 1 << 20), ("k", 1 << 10)):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"
