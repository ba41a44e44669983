"""Kubernetes quantities as numbers: ``1024Mi`` and ``1Gi`` are the same, and the API server respells them."""

import re
from decimal import Decimal, InvalidOperation, Overflow
from functools import lru_cache
from typing import Any

from disagg_operator.api.v1alpha1.patterns import QUANTITY

_SUFFIXES = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}
_LONGEST_FIRST = sorted(_SUFFIXES, key=len, reverse=True)


def quantity(value: Any) -> Decimal | None:
    """Return the number that a quantity means, or None where Kubernetes takes it for none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    return _parsed(str(value))


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Decimal | None:
    # Decimal takes more than Kubernetes does: spaces, underscores, NaN, an exponent before a suffix.
    if not re.fullmatch(QUANTITY, text.removeprefix("-" if text.startswith("-") else "+")):
        return None
    for suffix in _LONGEST_FIRST:
        if text.endswith(suffix):
            return _number(text.removesuffix(suffix), _SUFFIXES[suffix])
    return _number(text, Decimal(1))


def _number(text: str, factor: Decimal) -> Decimal | None:
    try:
        return Decimal(text) * factor
    except (InvalidOperation, Overflow):  # an exponent of millions
        return None
