"""Fills in who wrote a profile that an installation or a user adds, so that they need not write it."""

from collections.abc import Iterator, Mapping
from typing import Any

from disagg_operator.api.merge import deletes
from disagg_operator.platforms.profile import Document

_COUNTS = ("per_node", "per_gpu", "per_pod")


def owned(document: Mapping[str, Any], reason: str, place: str) -> Document:
    """Return a document whose values say who wrote them, where they do not say it themselves.

    Args:
        document: a profile as YAML has it.
        reason: reason of values that give none.
        place: what comes before the path of a value, which is the source of values that give none.
    """
    return {key: _owned(value, reason, f"{place}{key}") for key, value in document.items()}


def _owned(value: Any, reason: str, place: str) -> Any:
    # Each map and each entry of a list is one value with a provenance: what is below belongs to it.
    if isinstance(value, Mapping):
        # A count of one sort replaces an inherited one of another.
        others = dict.fromkeys(_COUNTS) if any(count in value for count in _COUNTS) else {}
        return {**others, "reason": reason, "source": place, "line": getattr(value, "line", ""), **value}
    if isinstance(value, list):
        return [_owned(entry, reason, f"{place}[{_key(index, entry)}]") for index, entry in enumerate(value)]
    return value


def _key(index: int, entry: Any) -> str:
    return str(entry.get("name", index)) if isinstance(entry, Mapping) else str(index)


def vain_removals(document: Mapping[str, Any], base: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the list and the name of each entry that a document removes and its base does not have.

    Args:
        document: a profile as YAML has it.
        base: what it is laid over.
    """
    for key, entries in document.items():
        for entry in entries if isinstance(entries, list) else ():
            if deletes(entry) and entry.get("name") not in {each["name"] for each in base.get(key, ())}:
                yield key, str(entry.get("name"))
