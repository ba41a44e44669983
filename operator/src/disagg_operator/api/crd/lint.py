"""Refuses schemas that the API server would refuse, or that would let it work without bounds."""

from collections.abc import Callable, Iterator
from typing import Any

Schema = dict[str, Any]

_PRESERVE = "x-kubernetes-preserve-unknown-fields"
_INT_OR_STRING = "x-kubernetes-int-or-string"
_KNOWN = frozenset(
    {
        *("type", "format", "description", "default", "enum", "pattern", "required"),
        *("properties", "additionalProperties", "items"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
        *("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"),
        *("x-kubernetes-validations", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"),
        *("x-kubernetes-map-type", _PRESERVE, _INT_OR_STRING),
    }
)


class StructureError(ValueError):
    """A model has no structural schema. The message begins with the path."""


def lint(node: Schema, path: str) -> None:
    """Check a schema without references, and everything in it.

    Args:
        node: the schema.
        path: where it is, for errors.

    Raises:
        StructureError: the first fault found, with its path.
    """
    for check in _CHECKS:
        fault = check(node)
        if fault:
            raise StructureError(f"{path}: {fault}")
    for suffix, child in _children(node):
        lint(child, path + suffix)


def _children(node: Schema) -> Iterator[tuple[str, Schema]]:
    yield from ((f".{name}", child) for name, child in node.get("properties", {}).items())
    if "additionalProperties" in node:
        yield "[*]", node["additionalProperties"]
    if "items" in node:
        yield "[]", node["items"]


def _keywords(node: Schema) -> str:
    unknown = sorted(set(node) - _KNOWN)
    return f"not structural: {', '.join(unknown)}" if unknown else ""


def _type(node: Schema) -> str:
    typed = isinstance(node.get("type"), str) or node.get(_PRESERVE) or node.get(_INT_OR_STRING)
    return "" if typed else "has no type"


def _maps(node: Schema) -> str:
    if "properties" in node and "additionalProperties" in node:
        return "has both named properties and free ones"
    if "additionalProperties" in node and not isinstance(node["additionalProperties"], dict):
        return "takes any property: give the values a type, or mark it as an opaque object"
    return ""


def _values(node: Schema) -> str:
    if not all(isinstance(value, str) for value in node.get("enum", ())):
        return "an enum of anything but text"
    if node.get("type") == "array" and not isinstance(node.get("items"), dict):
        return "a list without a type of its items"
    return ""


def _bounds(node: Schema) -> str:
    # CEL rules are priced by the largest value that the schema lets through.
    needs = {"string": ("maxLength", "enum", "format"), "array": ("maxItems",)}
    wanted = ("maxProperties",) if "additionalProperties" in node else needs.get(node.get("type", ""), ())
    if wanted and not any(keyword in node for keyword in wanted):
        return f"has no upper bound: give it {' or '.join(wanted)}"
    return ""


def _list_maps(node: Schema) -> str:
    item = node.get("items", {})
    for key in node.get("x-kubernetes-list-map-keys", ()):
        if key not in item.get("required", ()) and "default" not in item.get("properties", {}).get(key, {}):
            return f"list key {key} must be required or have a default"
    return ""


_CHECKS: tuple[Callable[[Schema], str], ...] = (_keywords, _type, _maps, _values, _bounds, _list_maps)
