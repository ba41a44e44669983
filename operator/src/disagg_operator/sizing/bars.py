"""Time to the first token against the rate of the fabric, as bars for terminals. Pure."""

import math
from collections.abc import Sequence

from disagg_operator.sizing.answer import Answer, first_token
from disagg_operator.sizing.assumptions import FABRIC
from disagg_operator.sizing.words import duration

_BAR = 32
"""Characters of the longest bar."""
_RATES = (0.1, 1.0, 10.0, 100.0)


def bars(answer: Answer) -> Sequence[tuple[str, str, str]]:
    """Return the same for a few rates: what the rate is, a bar, and the time to the first token."""
    assumed = answer.question.assumed.by_name
    named = {assumed[FABRIC].value: f" {answer.question.fabric}"}
    times = {rate: first_token(answer.question, answer.fleet, rate) for rate in sorted({*_RATES, *named})}
    target = answer.question.load.ttft
    longest = max([target, *(seconds for seconds in times.values() if math.isfinite(seconds))])
    return [
        (f"{rate:g} GB/s{named.get(rate, '')}", *_bar(seconds, longest, target))
        for rate, seconds in times.items()
    ]


def _bar(seconds: float, longest: float, target: float) -> tuple[str, str]:
    if math.isinf(seconds):
        return "░" * _BAR, "cannot carry the load"
    length = max(1, round(seconds / longest * _BAR))
    return "█" * length, duration(seconds) + ("" if seconds <= target else ", too late")
