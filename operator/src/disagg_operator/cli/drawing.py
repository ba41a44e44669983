"""Pictures by matplotlib, as SVG: words stay words, and the same figure gives the same bytes."""

import io
from collections.abc import Iterator
from contextlib import contextmanager

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, GREY, FAINT = "#333333", "#999999", "#e6e6e6"
COLOURS = ("#1f77b4", "#9e9e9e", "#2ca02c", "#d62728", "#9467bd", "#c5b358", "#8c564b", "#17becf")
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "disagg",
    "font.size": 9,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid.axis": "both",
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}


class Picture:
    """A picture that is being drawn.

    Attributes:
        figure: the whole.
        axes: what is drawn on, top to bottom.
    """

    def __init__(self, width: float, height: float, rows: int) -> None:
        self.figure = Figure(figsize=(width, height), layout="constrained" if rows else None)
        grid = self.figure.subplots(rows, 1, sharex=True, squeeze=False) if rows else ()
        self.axes: list[Axes] = [row[0] for row in grid]

    def svg(self) -> str:
        """Return what was drawn."""
        written = io.StringIO()
        self.figure.savefig(
            written, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
        )
        return written.getvalue()


@contextmanager
def drawn(width: float, height: float, rows: int = 1) -> Iterator[Picture]:
    """Draw a picture, and take it as SVG, within the block: the style holds there alone.

    Args:
        width: in inches.
        height: in inches.
        rows: axes above each other that share the horizontal one; with 0 the caller places its own.
    """
    with rc_context(_STYLE):  # type: ignore[arg-type]
        yield Picture(width, height, rows)
