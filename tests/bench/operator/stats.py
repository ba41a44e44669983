"""Percentiles of what was measured. Pure."""

import math
from collections.abc import Sequence


def percentile(values: Sequence[float], share: float) -> float:
    """Return the least value that this share of the values does not exceed (nearest rank).

    Args:
        values: at least one, in any order.
        share: from 0 to 1, such as 0.99.

    Raises:
        ValueError: there is no value, or the share is none.
    """
    if not values or not 0 <= share <= 1:
        raise ValueError(f"no percentile {share} of {len(values)} values")
    rank = max(1, math.ceil(share * len(values)))
    return sorted(values)[rank - 1]
