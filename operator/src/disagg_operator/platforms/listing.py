"""A profile as a list of its values, and as a document that another profile can be made from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from disagg_operator.platforms.profile import Conditional, Document, Layer, ProfileModel, Sourced

_NAMES = ("name", "value", "mode", "topology_key", "size", "resource")
"""Fields that say which of several values one is; the first that it has."""
_ALTERNATIVES = ("variables",)
"""Fields whose lists hold values of which one is enough, as in conditions; of other lists all are meant."""


@dataclass(frozen=True)
class Listed:
    """One value of a profile.

    Attributes:
        part: field of the profile.
        name: which of the field's values.
        value: the value in one line.
        when: condition in one line; empty where it always holds.
        reason, source, line: its provenance.
    """

    part: str
    name: str
    value: str
    when: str
    reason: str
    source: str
    line: str


def listed(profile: ProfileModel) -> Iterator[Listed]:
    """Yield all values of a profile that have a provenance: its own parts first, then what pods get."""
    for part in sorted(type(profile).model_fields, key=lambda part: part in Layer.model_fields):
        found = getattr(profile, part)
        for each in found if isinstance(found, tuple) else (found,):
            if isinstance(each, Sourced):
                yield _listed(part, each)


def _listed(part: str, value: Sourced) -> Listed:
    own = {
        key: found
        for key, found in value.model_dump(mode="json", exclude_defaults=True).items()
        if key not in Sourced.model_fields and key not in Conditional.model_fields
    }
    key = next((key for key in _NAMES if key in own), None)
    name = "" if key is None else str(own.pop(key))
    rest = str(own["value"]) if own.keys() == {"value"} else _words(own)
    when = value.when if isinstance(value, Conditional) else {}
    return Listed(part, name, rest, _words(when, "or"), value.reason, value.source, value.line)


def _words(found: Any, between: str = "and") -> str:
    if isinstance(found, Mapping):
        return ", ".join(
            f"{key} {_words(part, 'or' if key in _ALTERNATIVES else between)}" for key, part in found.items()
        )
    return f" {between} ".join(map(str, found)) if isinstance(found, list | tuple) else str(found)


def document(profile: ProfileModel) -> Document:
    """Return a profile as YAML has it, whole: with what it takes from others, without line numbers."""
    found: Document = _without_lines(profile.model_dump(mode="json", exclude_defaults=True))
    return found


def _without_lines(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_lines(part) for key, part in value.items() if key != "line"}
    return [_without_lines(part) for part in value] if isinstance(value, list) else value
