"""A value of an input document, with the path by which a person finds it.

Invariant: looking for what is not there gives an absent part, never an error: input is other people's.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_PLAIN_KEY = re.compile(r"[-\w]+")


@dataclass(frozen=True)
class Index:
    """The place of an entry in a list, and the entry's name where it has one."""

    number: int
    name: str = ""

    def __str__(self) -> str:
        return self.name or str(self.number)


Keys = tuple[str | Index, ...]
Place = tuple[str, Keys]
"""Document and keys: what tells two parts apart."""


@dataclass(frozen=True)
class Part:
    """A part of an input document.

    Attributes:
        document: the document, as ``Kind/name``.
        keys: keys of maps and places in lists on the way to it. A word that begins with a dash is a flag of
            the command above it.
        value: what is there; None where nothing is.
    """

    document: str
    keys: Keys
    value: Any

    def __bool__(self) -> bool:
        """Tell whether something is there."""
        return self.value is not None

    def __getitem__(self, key: str) -> "Part":
        """Return the part below a key of a map."""
        below = self.value.get(key) if isinstance(self.value, dict) else None
        return Part(self.document, (*self.keys, key), below)

    def at(self, *keys: str) -> "Part":
        """Return the part below several keys."""
        found = self
        for key in keys:
            found = found[key]
        return found

    def items(self) -> Iterator[tuple[str, "Part"]]:
        """Yield the parts of a map by key; nothing of what is no map."""
        if isinstance(self.value, dict):
            for key in self.value:
                yield str(key), Part(self.document, (*self.keys, key), self.value[key])

    def entries(self) -> Iterator["Part"]:
        """Yield the entries of a list; nothing of what is no list."""
        if isinstance(self.value, list):
            for number, entry in enumerate(self.value):
                name = entry.get("name") if isinstance(entry, dict) else None
                index = Index(number, name if isinstance(name, str) else "")
                yield Part(self.document, (*self.keys, index), entry)

    def leaves(self) -> Iterator["Part"]:
        """Yield what holds no further parts. Empty maps and lists and nulls say nothing, and are none."""
        if isinstance(self.value, dict):
            for _, part in self.items():
                yield from part.leaves()
        elif isinstance(self.value, list):
            for part in self.entries():
                yield from part.leaves()
        elif self.value is not None:
            yield self

    @property
    def text(self) -> str:
        """The value as text; empty where nothing is."""
        if isinstance(self.value, bool):
            return str(self.value).lower()
        return "" if self.value is None else str(self.value)

    @property
    def place(self) -> Place:
        """What tells this part apart."""
        return self.document, self.keys

    @property
    def path(self) -> str:
        """The path for people, such as ``spec.services.decode.replicas`` or ``… args --model-path``."""
        words = ""
        for key in self.keys:
            if isinstance(key, Index):
                words += f"[{key}]"
            elif key.startswith("-"):
                words += f" {key}"
            elif _PLAIN_KEY.fullmatch(key):
                words += f".{key}" if words else key
            else:
                words += f'["{key}"]'
        return words


def absent(document: str) -> Part:
    """Return a part where nothing is."""
    return Part(document, (), None)
