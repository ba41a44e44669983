"""From an API server's own OpenAPI document to the table of shapes that the operator holds pods against."""

import re
from typing import Any

ROOTS = ("PodTemplateSpec",)
OTHERS = {"Quantity": "quantity", "IntOrString": "int-or-text", "Time": "time", "FieldsV1": "any"}
"""Definitions that are no objects."""


def shapes(document: dict[str, Any]) -> dict[str, Any]:
    """Return the shapes of a pod template and of all that it is made of, by name.

    Args:
        document: ``/openapi/v3/api/v1``.
    """
    definitions = {key.rsplit(".", 1)[1]: value for key, value in document["components"]["schemas"].items()}
    found: dict[str, Any] = {}
    waiting = list(ROOTS)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        definition = definitions[name]
        fields = {field: _form(node) for field, node in sorted(definition.get("properties", {}).items())}
        found[name] = {"fields": fields}
        if definition.get("required"):
            found[name]["required"] = sorted(definition["required"])
        waiting += [each for form in fields.values() for each in re.findall(r"[A-Z]\w+", _names(form))]
    return dict(sorted(found.items()))


def _form(node: dict[str, Any]) -> Any:
    """Return the form of a field: a word, a shape's name, ``[form]``, ``{form}``, or a list of words."""
    if "allOf" in node:
        return _form(node["allOf"][0])
    if "$ref" in node:
        name = node["$ref"].rsplit(".", 1)[1]
        return OTHERS.get(name, name)
    if "enum" in node:
        return node["enum"]
    match node["type"]:
        case "array":
            inner = _form(node["items"])
            return inner if isinstance(inner, list) else f"[{inner}]"
        case "object" if "additionalProperties" in node:
            return f"{{{_form(node['additionalProperties'])}}}"
        case "integer":
            return node["format"]
        case "string":
            return {"date-time": "time", "byte": "bytes"}.get(node.get("format", ""), "text")
        case kind:
            return {"boolean": "bool"}.get(kind, kind)


def _names(form: Any) -> str:
    return form if isinstance(form, str) else ""
