"""The resources as a page of the documentation, docs/api.md: every field with type, default and meaning.

It is made of the definitions that the API server gets, so that it tells what is checked, and nothing else.
"""

import re
from collections.abc import Iterator
from typing import Any

from disagg_operator.api.v1alpha1 import KIND

Schema = dict[str, Any]

_HEAD = """# Resources

Made from the models in `operator/src/disagg_operator/api/v1alpha1` by `make crds`. `kubectl explain dd.spec`
tells the same in a terminal. A field that is not named here is refused, and so is a value outside its bounds.
Beyond that the operator judges by [rules](rules.md). Lengths of time are in seconds where the name says so;
quantities (`200Gi`) are those of Kubernetes.
"""
_DEFAULT = re.compile(r"\s*Default: (.+?)\.(?=\s|$)")
_BOUNDS = re.compile(r"\s*From -?\d+ to \d+\.(?=\s|$)")
_FREE = "x-kubernetes-preserve-unknown-fields"
_INT_OR_STRING = "x-kubernetes-int-or-string"


def page(definitions: tuple[dict[str, Any], ...]) -> str:
    """Return the Markdown text of the page about all resources."""
    return "\n".join([_HEAD, *(line for crd in definitions for line in _resource(crd["spec"]))])


def _resource(spec: dict[str, Any]) -> Iterator[str]:
    names, (version,) = spec["names"], spec["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    yield f"## {names['kind']}\n"
    yield f"{_text(schema['description'])}\n"
    yield f"`{spec['group']}/{version['name']}`, namespaced; short name `{names['shortNames'][0]}`.\n"
    # Both resources have a specification: the name of one tells the anchors apart.
    kind = "" if names["kind"] == KIND else f"{names['kind']} "
    for part in ("spec", "status"):
        yield from _object(f"{kind}{part}", schema["properties"][part], told=part == "spec")
    yield f"### Columns of kubectl get {names['shortNames'][0]}\n"
    yield "| column | with `-o wide` only | shows |\n|---|---|---|"
    for column in version["additionalPrinterColumns"]:
        wide = "yes" if column.get("priority") else ""
        shows = _text(column.get("description", "Age of the object."))
        yield f"| {column['name'].upper()} | {wide} | {shows} |"
    yield ""


def _object(path: str, node: Schema, *, told: bool) -> Iterator[str]:
    """Say what is in an object, and then what is in the objects within it.

    Args:
        path: where the object is.
        node: its schema.
        told: whether users write it, so that there are defaults.
    """
    yield f"### {path}\n"
    yield f"{_text(_bare(node))}\n"
    yield (
        "| field | type | default | meaning |\n|---|---|---|---|"
        if told
        else "| field | type | meaning |\n|---|---|---|"
    )
    for name, child in node["properties"].items():
        default = f" {_told_default(child, name in node.get('required', ()))} |" if told else ""
        yield f"| `{name}` | {_type(f'{path}.{name}', child)} |{default} {_text(_bare(child))} |"
    yield ""
    if rules := [rule["message"] for rule in node.get("x-kubernetes-validations", ()) if "message" in rule]:
        yield "What the API server refuses:\n"
        yield from (f"- {_text(rule)}" for rule in dict.fromkeys(rules))
        yield ""
    for name, child in node["properties"].items():
        inner, suffix = _inner(child)
        if "properties" in inner:
            yield from _object(f"{path}.{name}{suffix}", inner, told=told)


def _inner(node: Schema) -> tuple[Schema, str]:
    """Return the object that a field holds, directly or in a list or map, and how the path to it goes on."""
    if "items" in node:
        return {
            **node["items"],
            "description": node["items"].get("description", node.get("description", "")),
        }, "[]"
    if isinstance(node.get("additionalProperties"), dict):
        return {**node["additionalProperties"], "description": node.get("description", "")}, ".*"
    return node, ""


def _type(path: str, node: Schema) -> str:
    if node.get(_INT_OR_STRING):
        return "integer or text"
    inner, suffix = _inner(node)
    wrapped = {"": "{}", "[]": "list of {}", ".*": "map of {}"}[suffix]
    if "properties" in inner:
        return wrapped.format(f"[object](#{_anchor(path + suffix)})")
    if node.get(_FREE):
        return "any object"
    if suffix:
        return wrapped.format(_scalar(inner))
    return _scalar(node)


def _scalar(node: Schema) -> str:
    if node.get(_INT_OR_STRING):
        return "integers or texts"
    if "enum" in node:
        return ", ".join(f"`{value}`" for value in node["enum"])
    kind = "text" if node.get("type") == "string" else str(node.get("type", "object"))
    low, high = node.get("minimum"), node.get("maximum")
    if low is not None and high is not None:
        return f"{kind}, {low} to {high}"
    return kind if low is None else f"{kind}, at least {low}"


def _told_default(node: Schema, required: bool) -> str:
    if required:
        return "**required**"
    found = _DEFAULT.search(node.get("description", ""))
    return _text(found[1]) if found else ""


def _bare(node: Schema) -> str:
    """Return a description without what the other columns tell."""
    return _BOUNDS.sub("", _DEFAULT.sub("", node.get("description", ""))).strip()


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def _text(words: str) -> str:
    """Return words as they may stand in a cell of a table, read as text outside backticks."""
    parts = re.split(r"(`[^`]*`)", words.replace("|", "\\|"))
    return "".join(
        part if index % 2 else re.sub(r"([<>*_])", r"\\\1", part) for index, part in enumerate(parts)
    )
