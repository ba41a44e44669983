"""Holds parts of a pod, as users write them, against the shapes that Kubernetes gives them.

``shapes.json`` is made from the OpenAPI document of a real API server, with which
tests/integration/api/test_pod_shapes.py compares it: for each shape its fields, and those that it needs.
`forms` has what no such document says, such as which texts are names. A newer Kubernetes may know further
fields, so the rules that use this can be overridden.

A part that is merged over a derived one may be partial: what it needs may come from there, and null and
``$patch`` take something out.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any

from disagg_operator.api.kubernetes.forms import KEYS, Form, form_of
from disagg_operator.api.merge import deletes
from disagg_operator.api.quantities import quantity
from disagg_operator.api.translate import described, path

_BITS = {"int32": 31, "int64": 63}
_SAID = {
    "text": "text",
    "bool": "true or false",
    "int32": "a whole number",
    "int64": "a whole number",
    "number": "a number",
    "quantity": "a quantity such as 500m or 2Gi",
    "int-or-text": "a whole number or text",
    "time": "a time such as 2026-01-31T12:00:00Z",
    "bytes": "text in base64",
}
_COMPLETED = frozenset(
    {"PodSpec", "Container", "EphemeralContainer", "Volume", "HTTPGetAction", "TCPSocketAction", "GRPCAction"}
    | {"HostPathVolumeSource", "PersistentVolumeClaimVolumeSource"}
)
"""Shapes of which a derived part may bring what is needed."""
_LARGEST_ANNOTATIONS = 256 * 1024
"""Bytes (k8s.io/apimachinery/pkg/api/validation: TotalAnnotationSizeLimitB)."""

Step = tuple[int | str, ...]


@dataclass(frozen=True)
class Fault:
    """What is wrong with one field: its path, the fault, and what to write instead."""

    field: str
    fault: str
    remedy: str


@cache
def shapes() -> Mapping[str, Mapping[str, Any]]:
    """Return the shapes by name."""
    text = files(__package__).joinpath("shapes.json").read_text(encoding="utf-8")
    found: Mapping[str, Mapping[str, Any]] = json.loads(text)
    return found


def faults(shape: str, value: Any, field: str) -> Iterator[Fault]:
    """Find what Kubernetes would refuse of a part of a pod.

    Args:
        shape: its shape, such as PodTemplateSpec.
        value: the part.
        field: its path.
    """
    for at, fault, remedy in _object(shape, value, ()):
        inner = path(at)
        yield Fault(f"{field}{'' if inner.startswith('[') or not inner else '.'}{inner}", fault, remedy)


Found = Iterator[tuple[Step, str, str]]


def _object(shape: str, value: Any, at: Step) -> Found:
    if not isinstance(value, Mapping):
        yield at, f"must be an object, not {described(value)}", "Write an object"
        return
    if deletes(value):
        return
    fields = shapes()[shape]["fields"]
    for key, inner in value.items():
        form = fields.get(key)
        if form is None:
            yield (*at, key), "there is no such field", _meant(key, fields)
        elif inner is not None:
            yield from _value(form, inner, (*at, key), form_of(shape, key, value), KEYS.get((shape, key)))
    if shape == "ObjectMeta" and _size(value.get("annotations")) > _LARGEST_ANNOTATIONS:
        yield (*at, "annotations"), "are longer than 256 KiB together", "Write less"
    for key in shapes()[shape].get("required", ()) if shape not in _COMPLETED else ():
        if value.get(key) is None:
            yield (*at, key), "is missing", "Add it"


def _value(form: Any, value: Any, at: Step, text: Form | None, key: Form | None) -> Found:
    if isinstance(form, list):
        # Empty text is as good as none wherever there is a list of words.
        if value not in (*form, ""):
            said = (
                f"{value!r} is not allowed"
                if isinstance(value, str)
                else f"must be text, not {described(value)}"
            )
            yield at, said, f"Write one of: {', '.join(filter(None, form))}"
    elif form.startswith("["):
        yield from _list(form[1:-1], value, at, text)
    elif form.startswith("{"):
        yield from _map(form[1:-1], value, at, text, key)
    elif form[0].isupper():
        yield from _object(form, value, at)
    elif not _is(form, value):
        yield at, f"must be {_SAID[form]}, not {described(value)}", f"Write {_SAID[form]}"
    elif text is not None and not text.fits(value):
        yield (
            at,
            f"{described(value, quote=True).removeprefix('the text ')} is not allowed here",
            f"Write {text.words}",
        )


def _list(form: str, value: Any, at: Step, text: Form | None) -> Found:
    if not isinstance(value, list):
        yield at, f"must be a list, not {described(value)}", "Write a list"
        return
    for index, each in enumerate(value):
        yield from _value(form, each, (*at, index), text, None)


def _map(form: str, value: Any, at: Step, text: Form | None, key: Form | None) -> Found:
    if not isinstance(value, Mapping):
        yield at, f"must be an object, not {described(value)}", "Write an object"
        return
    for name, inner in value.items():
        if key is not None and not key.fits(name) and name != "$patch":
            yield (*at, name), "is no key that Kubernetes takes here", f"Write {key.words}"
        if inner is not None:
            yield from _value(form, inner, (*at, name), text, None)


def _is(form: str, value: Any) -> bool:
    if form in _BITS:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return whole and -(2 ** _BITS[form]) <= value < 2 ** _BITS[form]
    match form:
        case "bool":
            return isinstance(value, bool)
        case "text" | "time" | "bytes":
            return isinstance(value, str)
        case "quantity":
            return quantity(value) is not None
        case "int-or-text":
            return isinstance(value, str) or _is("int32", value)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
    return True


def _size(annotations: Any) -> int:
    """Return the bytes of a map's keys and texts."""
    if not isinstance(annotations, Mapping):
        return 0
    return sum(len(str(each).encode()) for pair in annotations.items() for each in pair)


def _meant(key: str, known: Mapping[str, Any]) -> str:
    close = get_close_matches(key, known, n=1)
    return f"Did you mean {close[0]}?" if close else f"Known fields: {', '.join(known)}"
