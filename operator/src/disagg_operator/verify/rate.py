"""How long a transfer took, from counters that were read while it ran.

Readings are milliseconds apart at best, so the duration is an interval: a transfer began after the last one
that shows nothing of it, ended before the first that shows all of it, and was under way between the
readings that show a part. A transfer that fits between two readings has no lower bound but 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from disagg_operator.verify.counters import Source, received
from disagg_operator.verify.evidence import Evidence

_EDGE = 0.05
"""Part of the bytes that counts as nothing of it: answers and bookkeeping move as well."""


@dataclass(frozen=True)
class Sample:
    """Evidence of the decode pods, read between two moments.

    Attributes:
        began: when it was asked for, in seconds of one clock.
        ended: when it was there.
        evidence: of all decode pods, always in the same order.
    """

    began: float
    ended: float
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True)
class Duration:
    """Bounds of a duration in seconds."""

    at_least: float
    at_most: float


def duration(samples: Sequence[Sample], source: Source) -> Duration | None:
    """Return how long what a source counted took to arrive, or None where the samples do not show it.

    Args:
        samples: in the order of time, the first before the transfer and the last after it.
        source: what counted it.
    """
    counts = [sum(received(evidence, source) for evidence in sample.evidence) for sample in samples]
    if any(later < earlier for earlier, later in pairwise(counts)) or not counts or counts[0] == counts[-1]:
        return None
    edge = _EDGE * (counts[-1] - counts[0])
    begun, ended = counts[0] + edge, counts[-1] - edge
    series = list(zip(samples, counts, strict=True))
    under_way = [sample for sample, count in series if begun < count < ended]
    return Duration(
        at_least=max(0.0, under_way[-1].began - under_way[0].ended) if under_way else 0.0,
        at_most=min(sample.ended for sample, count in series if count >= ended)
        - max(sample.began for sample, count in series if count <= begun),
    )
