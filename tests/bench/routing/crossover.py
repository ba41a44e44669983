"""Where two curves over the length of a prompt cross, and their picture."""

import math
from collections.abc import Mapping

from bench.curves import lines

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
    points = {name: sorted(curve.items()) for name, curve in curves.items()}
    mark = None if crossing is None else (crossing, f"{crossing:.0f} tokens")
    return lines(title, "tokens of the prompt", "ms", points, logarithmic=True, mark=mark)
