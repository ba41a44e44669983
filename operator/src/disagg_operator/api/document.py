"""From Python's objects to the JSON that the API server would make of them.

Invariants: what JSON cannot hold is refused with its path; a number that is whole is written as one, as the
API server stores it (``2.0`` is ``2``); recursion is no deeper than the levels that are allowed.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

from disagg_operator.api.problems import Problem, Refusal
from disagg_operator.api.translate import path

_DEEPEST = 190
"""Levels of maps and lists. The parser of our models takes 200 (pydantic-core), and no pod has a tenth."""
_FIRST_INEXACT = 10**21
"""From here on the API server writes whole numbers with an exponent, and takes them for fractions."""
_MOST = 1_000_000
"""Entries of all maps and lists: the API server takes 3 MiB. A few lines of YAML can stand for any number."""
_LONGEST_NUMBER = 3400
"""Bits. Longer ones fit no number of an API server, and Python does not write them out."""
_SPOKEN_STEPS = 8
"""Steps of a path that say where something is nested too deeply."""

Path = tuple[int | str, ...]


def as_json(document: Mapping[str, Any]) -> str:
    """Return a document as JSON.

    Raises:
        Refusal: it holds what JSON cannot express or more than any API server takes, or is nested too deeply.
    """
    return json.dumps(_Copy().of(document, ()), allow_nan=False)


class _Copy:
    """One copy of a document, as JSON would have it."""

    def __init__(self) -> None:
        self.left = _MOST

    def of(self, value: Any, at: Path) -> Any:
        """Return the copy of a value at a path."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            return _whole(value, at)
        if isinstance(value, str):
            return _text(value, at)
        if isinstance(value, float):
            return _number(value, at)
        if len(at) > _DEEPEST:
            fault = f"is nested more than {_DEEPEST} levels deep"
            raise _refusal(at[:_SPOKEN_STEPS], fault, "Write fewer levels")
        # Views of an API object are mappings but no dictionaries.
        if isinstance(value, Mapping):
            self._count(len(value), at)
            return {_text(str(key), at): self.of(inner, (*at, str(key))) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            self._count(len(value), at)
            return [self.of(inner, (*at, index)) for index, inner in enumerate(value)]
        # YAML makes dates of unquoted text.
        return str(value)

    def _count(self, entries: int, at: Path) -> None:
        self.left -= entries
        if self.left < 0:
            fault = f"is part of more than {_MOST} entries (does YAML repeat a part of itself?)"
            raise _refusal(at[:_SPOKEN_STEPS], fault, "Write fewer")


def _text(text: str, at: Path) -> str:
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _refusal(at, "holds half a character (a surrogate)", "Write whole Unicode characters") from None
    return text


def _number(number: float, at: Path) -> float | int:
    if not math.isfinite(number):
        raise _refusal(at, "is no number that JSON can express (.nan or .inf)", "Write a finite number")
    return int(number) if number.is_integer() and abs(number) < _FIRST_INEXACT else number


def _whole(number: int, at: Path) -> int:
    if number.bit_length() > _LONGEST_NUMBER:
        raise _refusal(at, "is a number of more than a thousand digits", "Write fewer digits")
    return number


def _refusal(at: Path, fault: str, remedy: str) -> Refusal:
    return Refusal([Problem(path(at) or "resource", fault, remedy, "shape")])
