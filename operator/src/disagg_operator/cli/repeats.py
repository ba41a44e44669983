"""Tells whether a text says again what another has said, of other pods or in other company. Pure."""

import re
from collections.abc import Iterable

from disagg_operator.plan.model import ROLES

_SENTENCE_ENDS = re.compile(r"(?<=[.!?:;])\s+")
_MOSTLY = 0.6
"""Part of a text, in characters, that must be told already for it to be no news."""


class Told:
    """What was told so far, by sentences; names of pods and roles make no difference.

    Args:
        names: names of pods.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        alike = "|".join(map(re.escape, sorted([*names, *ROLES], key=len, reverse=True)))
        self._alike = re.compile(rf"(?<![\w.-])(?:{alike})(?![\w-])")
        self._found: dict[str, str] = {}

    def key(self, text: str) -> str:
        """Return a text without what makes no difference."""
        return self._alike.sub("…", " ".join(text.split()))

    def where(self, text: str) -> str:
        """Return where most of a text was told first, or nothing where it is news."""
        sentences = self._sentences(text)
        told = [each for each in sentences if each in self._found]
        news = sum(map(len, sentences)) * _MOSTLY > sum(map(len, told))
        return "" if news or not told else self._found[max(told, key=len)]

    def add(self, text: str, where: str) -> None:
        """Keep a text.

        Args:
            text: what is told.
            where: what readers find it by.
        """
        for sentence in self._sentences(text):
            self._found.setdefault(sentence, where)

    def _sentences(self, text: str) -> list[str]:
        return [each for each in _SENTENCE_ENDS.split(self.key(text)) if each]
