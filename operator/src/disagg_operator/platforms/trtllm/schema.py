"""What a version of TensorRT-LLM accepts in its engine's YAML file, read from ``llm_args.yaml`` beside this.

Invariant: what is not known for sure is accepted. Values are judged by pydantic as TensorRT-LLM has it judge
them, so that "8" is a whole number and "on" is true for both.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib import resources
from typing import Annotated, Any, Literal

import yaml
from packaging.version import Version
from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from disagg_operator.platforms.profile import ProfileModel

_SECTIONS = ("section", "tagged")


class Span(ProfileModel):
    """For which versions something holds: from ``since`` on, up to ``until``, which it holds for no more."""

    since: str | None = None
    until: str | None = None

    def holds(self, version: str) -> bool:
        """Return whether it holds for a version."""
        at = _version(version)
        return (self.since is None or _version(self.since) <= at) and (
            self.until is None or at < _version(self.until)
        )


class Argument(Span):
    """One key of the file, for some versions.

    Attributes:
        kind: what its value is; ``llm_args.yaml`` explains the words.
        optional: whether null is accepted.
        choices: the only texts that are accepted; any if empty.
        any_case: whether it is all one how they are written.
        minimum, maximum: bounds of a number.
        fields: the keys of a section.
        tag: the key of a section that says which of ``cases`` it is, whose keys it has too.
    """

    kind: Literal[
        "whole", "number", "switch", "text", "wholes", "numbers", "texts", "map", "any", "section", "tagged"
    ]
    optional: bool = False
    choices: tuple[str, ...] = ()
    any_case: bool = False
    minimum: float | None = None
    maximum: float | None = None
    fields: "Fields" = Field(default_factory=dict)
    tag: str = ""
    cases: Mapping[str, "Case"] = Field(default_factory=dict)


class Case(Span):
    """One value of a section's tag, and the keys that the section has then."""

    fields: "Fields" = Field(default_factory=dict)


def _listed(entries: object) -> object:
    return [entries] if isinstance(entries, Mapping) else entries


Fields = Mapping[str, Annotated[tuple[Argument, ...], BeforeValidator(_listed)]]
Argument.model_rebuild()
Case.model_rebuild()


@dataclass(frozen=True)
class Unknown:
    """A key that the version refuses.

    Attributes:
        key: its path, the parts separated by dots.
    """

    key: str


@dataclass(frozen=True)
class Unfit:
    """A value that the version refuses.

    Attributes:
        key: path of its key.
        value: the value; None where the key is missing.
        wanted: what it accepts, such as "true or false".
    """

    key: str
    value: Any
    wanted: str


def argument(version: str, key: str) -> Argument | None:
    """Return what a version accepts at a key, or None if it does not know the key.

    Args:
        version: version of TensorRT-LLM.
        key: path of the key, its parts separated by dots.
    """
    fields, found = _arguments(), None
    for part in key.split("."):
        found = _held(fields.get(part, ()), version)
        if found is None:
            return None
        fields = _all_fields(found, version)
    return found


def keys(version: str, key: str = "") -> tuple[str, ...]:
    """Return the keys that a version knows in a section, or in the whole file."""
    section = argument(version, key) if key else None
    fields = _arguments() if not key else _all_fields(section, version) if section else {}
    return tuple(name for name, entries in fields.items() if _held(entries, version))


def faults(config: Mapping[str, Any], version: str) -> Iterator[Unknown | Unfit]:
    """Yield what a version would refuse of a configuration.

    Args:
        config: what the engine's file holds.
        version: version of TensorRT-LLM.
    """
    return _faults(config, _arguments(), version, "")


def meant(version: str, key: str) -> tuple[str, ...]:
    """Return the keys that the writer of an unknown one may have meant: one near, or its name elsewhere."""
    section, _, name = key.rpartition(".")
    near = get_close_matches(name, keys(version, section), n=1, cutoff=0.75)
    if near:
        return (f"{section}.{near[0]}".lstrip("."),)
    paths = _paths(_arguments(), version)
    return tuple(path for path in paths if path.rpartition(".")[2] == name)


def _faults(
    config: Mapping[str, Any], fields: Fields, version: str, prefix: str
) -> Iterator[Unknown | Unfit]:
    for name, value in config.items():
        key = f"{prefix}{name}"
        known = _held(fields.get(name, ()), version)
        if known is None:
            yield Unknown(key)
        elif known.kind in _SECTIONS and isinstance(value, Mapping):
            yield from _section_faults(known, value, version, key)
        elif not _fits(known, value):
            yield Unfit(key, value, _wanted(known))


def _section_faults(
    section: Argument, value: Mapping[str, Any], version: str, key: str
) -> Iterator[Unknown | Unfit]:
    fields = section.fields
    if section.tag:
        cases = {name: case for name, case in section.cases.items() if case.holds(version)}
        tagged = value.get(section.tag)
        if not isinstance(tagged, str) or tagged not in cases:
            yield Unfit(f"{key}.{section.tag}", tagged, f"one of {', '.join(cases)}")
            return
        fields = {**fields, **cases[tagged].fields}
        value = {name: each for name, each in value.items() if name != section.tag}
    yield from _faults(value, fields, version, f"{key}.")


def _all_fields(section: Argument, version: str) -> Fields:
    """Return the keys that a section may have, whatever its tag says."""
    held = (case.fields for case in section.cases.values() if case.holds(version))
    tag: Fields = {section.tag: (Argument(kind="text"),)} if section.tag else {}
    found: dict[str, tuple[Argument, ...]] = {**tag, **section.fields}
    for fields in held:
        found |= fields
    return found


def _paths(fields: Fields, version: str, prefix: str = "") -> Iterator[str]:
    for name, entries in fields.items():
        held = _held(entries, version)
        if held is not None:
            yield f"{prefix}{name}"
            yield from _paths(_all_fields(held, version), version, f"{prefix}{name}.")


def _held(entries: Iterable[Argument], version: str) -> Argument | None:
    return next((entry for entry in entries if entry.holds(version)), None)


def _fits(known: Argument, value: Any) -> bool:
    if known.any_case and isinstance(value, str):
        value = next((choice for choice in known.choices if choice.lower() == value.lower()), value)
    try:
        _type(known.kind, known.optional, known.choices, known.minimum, known.maximum).validate_python(value)
    except ValidationError:
        return False
    return True


@cache
def _type(
    kind: str, optional: bool, choices: tuple[str, ...], minimum: float | None, maximum: float | None
) -> TypeAdapter[Any]:
    bounds = Field(ge=minimum, le=maximum)
    types: dict[str, Any] = {
        "whole": Annotated[int, bounds],
        "number": Annotated[float, bounds],
        "switch": bool,
        "text": Literal[choices] if choices else str,
        "wholes": list[int],
        "numbers": list[float],
        "texts": list[str],
        "any": Any,
    }
    held = types.get(kind, dict[str, Any])
    return TypeAdapter(held | None if optional else held)


def _wanted(known: Argument) -> str:
    whole = " of at least {:g}" if known.maximum is None else " from {:g} to {:g}"
    bounds = whole.format(known.minimum, known.maximum) if known.minimum is not None else ""
    words = {
        "whole": f"a whole number{bounds}",
        "number": f"a number{bounds}",
        "switch": "true or false",
        "text": f"one of {', '.join(known.choices)}" if known.choices else "a text",
        "wholes": "a list of whole numbers",
        "numbers": "a list of numbers",
        "texts": "a list of texts",
    }
    return words.get(known.kind, "a map")


@cache
def _version(text: str) -> Version:
    return Version(text)


@cache
def _arguments() -> Fields:
    file = resources.files("disagg_operator.platforms.trtllm") / "llm_args.yaml"
    document = yaml.load(file.read_text(encoding="utf-8"), yaml.CSafeLoader)
    return TypeAdapter(Fields).validate_python(document)
