"""What is known about a pod while it is planned, and which values of a profile hold for it."""

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

from disagg_operator.plan.model import Provenance
from disagg_operator.platforms.profile import Conditional, Sourced
from disagg_operator.platforms.vocabulary import STANDARD, WITH_EFA

C = TypeVar("C", bound=Conditional)

_EFA_TAG = re.compile(r":[^/:@]*\befa\b[^/:@]*(@|$)")

Facts = Mapping[str, str]
"""Facts by name; `platforms.vocabulary` says which there are."""


def applies(value: Conditional, facts: Facts) -> bool:
    """Tell whether a conditional value holds.

    Args:
        value: a value of a profile.
        facts: what is known; a fact that is not known yet matches nothing.
    """
    return all(facts.get(name) in allowed for name, allowed in value.when.items())


def applicable(values: Iterable[C], facts: Facts) -> tuple[C, ...]:
    """Return the values that hold, in their order."""
    return tuple(value for value in values if applies(value, facts))


def first(values: Iterable[C], facts: Facts) -> C | None:
    """Return the first value that holds, or None."""
    return next(iter(applicable(values, facts)), None)


def image_kind(image: str) -> str:
    """Return the fact ``image`` of an image reference."""
    return WITH_EFA if _EFA_TAG.search(image) else STANDARD


def provenance(value: Sourced) -> Provenance:
    """Return why a profile's value is there."""
    return Provenance(value.reason, value.source, value.line)
