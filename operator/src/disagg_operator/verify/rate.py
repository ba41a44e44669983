"""How long a transfer took, from counters that were read while it ran.

Readings are milliseconds apart at best, so the duration is an interval: a transfer began after the last one
that shows nothing of it, ended before the first that shows all of it, and was under way between the
readings that show a part. A transfer that fits between two readings has no lower bound but 0.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from disagg_operator.verify.counters import Source, received
from disagg_operator.verify.evidence import Evidence

_EDGE = 0.05
"""Part of the bytes that counts as nothing of it: answers and bookkeeping move as well."""


@dataclass(frozen=True)
class Sample:
    """Evidence of the decode pods at one moment.

    Attributes:
        at: when, in seconds of one clock.
        evidence: of all decode pods, always in the same order.
    """

    at: float
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
    series = [
        (sample.at, sum(received(evidence, source) for evidence in sample.evidence)) for sample in samples
    ]
    if any(later < earlier for (_, earlier), (_, later) in pairwise(series)):
        return None
    first, last = (series[0][1], series[-1][1]) if series else (0, 0)
    if last <= first:
        return None
    begun, ended = first + _EDGE * (last - first), last - _EDGE * (last - first)
    before = max(at for at, count in series if count <= begun)
    after = min(at for at, count in series if count >= ended)
    return Duration(_extent(at for at, count in series if begun < count < ended), after - before)


def _extent(times: Iterable[float]) -> float:
    known = list(times)
    return max(known) - min(known) if known else 0.0
