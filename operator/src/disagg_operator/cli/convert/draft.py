"""The resource while it is written, and what is kept of the input beside it.

Some settings are written only if the operator would not derive just the same: they are offered, and what
becomes of them is decided when the rest of the resource was planned.
"""

import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.alias_generators import to_camel

from disagg_operator.api.v1alpha1 import API_VERSION, KIND
from disagg_operator.api.v1alpha1.resource import DisaggDeployment
from disagg_operator.cli.convert.ledger import Ledger
from disagg_operator.cli.convert.part import Part

To = str | tuple[str, ...]
"""Path of a field of the resource; a tuple where a key has dots of its own."""


@dataclass(frozen=True)
class Offer:
    """A setting that is written unless the operator derives the same.

    Attributes:
        role: prefill or decode.
        kind: variable, setting, device, security or image.
        name: its name; for a setting of the engine its path with dots.
        value: what the input says.
        parts: where it says so.
    """

    role: str
    kind: str
    name: str
    value: Any
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Choice:
    """Something that the input does not say in so many words, and how it was found."""

    what: str
    value: str
    how: str


class Draft:
    """A DisaggDeployment that is being written."""

    def __init__(self) -> None:
        """Begin with an empty one."""
        self.ledger = Ledger()
        self.offers: list[Offer] = []
        self.choices: list[Choice] = []
        self._resource: dict[str, Any] = {"apiVersion": API_VERSION, "kind": KIND}

    def write(self, to: To, value: Any, *parts: Part, why: str = "") -> None:
        """Write a field, and note which parts of the input it says."""
        *sections, last = keys_of(to)
        place = self._resource
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
        self.note(to, *parts, why=why)

    def append(self, to: To, value: Any, *parts: Part, why: str = "") -> None:
        """Append to a list what is not yet in it."""
        entries = self.read(to) or []
        self.write(to, entries if value in entries else [*entries, value], *parts, why=why)

    def note(self, to: To, *parts: Part, why: str = "") -> None:
        """Note which parts of the input a field says."""
        for part in parts:
            if part:
                self.ledger.mapped(part, ".".join(keys_of(to)), why)

    def read(self, to: To) -> Any:
        """Return what was written to a field, or None."""
        found: Any = self._resource
        for key in keys_of(to):
            found = found.get(key) if isinstance(found, Mapping) else None
        return found

    def offer(self, role: str, kind: str, name: str, value: Any, *parts: Part) -> None:
        """Offer a setting of a role."""
        self.offers.append(Offer(role, kind, name, value, parts))

    def choose(self, what: str, value: str, how: str) -> None:
        """Remember how something was found."""
        self.choices.append(Choice(what, value, how))

    def derived(self, parts: Iterable[Part], why: str) -> None:
        """Note of several parts that the operator derives them."""
        for part in parts:
            if part:
                self.ledger.derived(part, why)

    def dropped(self, parts: Iterable[Part], why: str) -> None:
        """Note of several parts that they are dropped."""
        for part in parts:
            if part:
                self.ledger.dropped(part, why)

    def resource(self) -> dict[str, Any]:
        """Return what was written, with fields in the order of the API."""
        ordered: dict[str, Any] = _ordered(self._resource, DisaggDeployment)
        return ordered


def keys_of(to: To) -> tuple[str, ...]:
    """Return the keys of a path."""
    return tuple(to.split(".")) if isinstance(to, str) else to


def _ordered(value: Any, model: type[BaseModel] | None) -> Any:
    if model is None or not isinstance(value, dict):
        return value
    fields = {field.alias or to_camel(name): field.annotation for name, field in model.model_fields.items()}
    order = [*(key for key in fields if key in value), *(key for key in value if key not in fields)]
    return {key: _ordered(value[key], _model(fields.get(key))) for key in order}


def _model(annotation: Any) -> type[BaseModel] | None:
    """Return the model of a field, if it has one."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated):
        found = (_model(each) for each in typing.get_args(annotation))
        return next((each for each in found if each is not None), None)
    return None
