"""A conversion in words: as rows of a table, and as a document for programs."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from disagg_operator.cli.convert.conversion import Conversion
from disagg_operator.cli.convert.graph import GRAPH
from disagg_operator.cli.convert.ledger import Fate, Note

CHOICE_HEADINGS = ("What", "Is", "How it was found")
NOTE_HEADINGS = ("Field of the input", "Value", "Became", "Why")

Row = tuple[str, ...]


def choice_rows(conversion: Conversion) -> list[Row]:
    """Return a row for each thing that was found out."""
    return [(choice.what, choice.value or "-", choice.how) for choice in conversion.choices]


def note_rows(notes: Sequence[Note], fates: Iterable[Fate] = Fate) -> list[Row]:
    """Return a row for each field of the input that had one of some fates, in the order of these."""
    return [
        (field(note), note.value, became(note), note.why)
        for fate in fates
        for note in notes
        if note.fate is fate
    ]


def field(note: Note) -> str:
    """Return where a field is: its path, with the document where that is not the graph."""
    beside = "" if note.document.startswith(f"{GRAPH}/") else note.document
    return f"{beside} {note.field}".strip()


def became(note: Note) -> str:
    """Return in words what became of a field."""
    if note.fate is Fate.MAPPED:
        return note.to
    return f"{note.fate}: {note.to}" if note.to else note.fate


def summary(conversion: Conversion) -> str:
    """Return one line about a conversion."""
    counts = {fate: sum(note.fate is fate for note in conversion.notes) for fate in Fate}
    told = ", ".join(f"{count} {fate}" for fate, count in counts.items())
    return f"{conversion.graph}: fields of the input: {told}"


def document(conversion: Conversion) -> dict[str, Any]:
    """Return a conversion for programs."""
    return {
        "graph": conversion.graph,
        "resource": dict(conversion.resource),
        "choices": [asdict(choice) for choice in conversion.choices],
        "fields": [asdict(note) for note in conversion.notes],
        "problems": [asdict(problem) for problem in conversion.problems],
        "warnings": [asdict(problem) for problem in conversion.warnings],
    }
