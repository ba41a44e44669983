"""What became of every field of the input.

Invariant: every leaf of every document is accounted for. What nobody spoke of is told as dropped, because
this version does not know it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from disagg_operator.cli.convert.part import Part, Place

UNKNOWN = "convert does not know this field: see whether you need it"
_SHOWN = 60


class Fate(StrEnum):
    """What became of a field."""

    MAPPED = "mapped"
    DERIVED = "derived"
    DROPPED = "dropped"


@dataclass(frozen=True)
class Note:
    """What became of one field.

    Attributes:
        document: document of the input, as ``Kind/name``.
        field: path of the field in it.
        value: what it said, shortened; nothing for a whole section.
        fate: mapped to a field of the resource; derived by the operator, so not written; or dropped.
        to: field of the resource that says it now, where one does.
        why: why it is derived or dropped, or how it was mapped where that is not plain.
    """

    document: str
    field: str
    value: str
    fate: Fate
    to: str
    why: str


class Ledger:
    """Notes, kept while the parts of the input are read."""

    def __init__(self) -> None:
        """Begin without any."""
        self._notes: dict[Place, list[Note]] = {}
        self._opened: dict[Place, tuple[Part, ...]] = {}

    def mapped(self, part: Part, to: str, why: str = "") -> None:
        """Note that a field of the resource says it now."""
        self._add(part, Fate.MAPPED, to, why)

    def derived(self, part: Part, why: str, to: str = "") -> None:
        """Note that the operator derives it, so that nobody has to write it."""
        self._add(part, Fate.DERIVED, to, why)

    def dropped(self, part: Part, why: str) -> None:
        """Note that nothing says it any more."""
        self._add(part, Fate.DROPPED, "", why)

    def opened(self, part: Part, inner: Iterable[Part]) -> None:
        """Note that a text was read as something with parts of its own, such as a command or a YAML file."""
        self._opened[part.place] = tuple(inner)

    def knows(self, part: Part) -> bool:
        """Tell whether something was noted of just this part."""
        return part.place in self._notes

    def read(self, part: Part) -> bool:
        """Tell whether a text was read as something with parts of its own."""
        return part.place in self._opened

    def notes(self, documents: Iterable[Part]) -> list[Note]:
        """Return what became of every leaf of documents, in their order; a section is told of once."""
        told: dict[Note, None] = {}
        for document in documents:
            for leaf in self._leaves(document):
                told.update(dict.fromkeys(self._of(leaf)))
        return list(told)

    def _add(self, part: Part, fate: Fate, to: str, why: str) -> None:
        note = Note(part.document, part.path, shown(part.value), fate, to, why)
        known = self._notes.setdefault(part.place, [])
        if note not in known:
            known.append(note)

    def _leaves(self, part: Part) -> Iterator[Part]:
        if part.place in self._opened:
            for inner in self._opened[part.place]:
                yield from self._leaves(inner)
        elif part.value in ({}, []):
            # Nothing is in it, but that it is there may mean something: then somebody spoke of it.
            if self.knows(part):
                yield part
        elif isinstance(part.value, dict):
            for _, below in part.items():
                yield from self._leaves(below)
        elif isinstance(part.value, list):
            for below in part.entries():
                yield from self._leaves(below)
        elif part.value is not None:
            yield part

    def _of(self, leaf: Part) -> list[Note]:
        for length in range(len(leaf.keys), -1, -1):
            notes = self._notes.get((leaf.document, leaf.keys[:length]))
            if notes:
                return notes
        return [Note(leaf.document, leaf.path, shown(leaf.value), Fate.DROPPED, "", UNKNOWN)]


def shown(value: Any) -> str:
    """Return a value in one short line; of a variable its value, and nothing of another map or list."""
    if isinstance(value, dict):
        value = value.get("value")
    if value is None or isinstance(value, list):
        return ""
    text = " ".join(str(value).lower().split()) if isinstance(value, bool) else " ".join(str(value).split())
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
