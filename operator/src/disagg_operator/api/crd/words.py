"""Completes descriptions, so that ``kubectl explain`` tells bounds and defaults that it would not show."""

import re
from collections.abc import Callable
from typing import Any

Schema = dict[str, Any]


def tidied(node: Schema) -> Schema:
    """Return a schema whose descriptions are written for a terminal."""
    result = dict(node)
    if "description" in node:
        result["description"] = re.sub(r"\s+", " ", node["description"]).replace("``", "`").strip()
    return with_children(result, tidied)


def documented(node: Schema) -> Schema:
    """Return a schema whose descriptions name bounds, and the default of what may be left out."""
    result = with_children(node, documented)
    if "properties" in result:
        required = node.get("required", ())
        result["properties"] = {
            name: _completed(child, optional=name not in required)
            for name, child in result["properties"].items()
        }
    return result


def with_children(node: Schema, change: Callable[[Schema], Schema]) -> Schema:
    """Return a schema with each schema directly inside it changed."""
    result = dict(node)
    if "properties" in node:
        result["properties"] = {name: change(child) for name, child in node["properties"].items()}
    for key in ("additionalProperties", "items"):
        if key in node:
            result[key] = change(node[key])
    return result


def _completed(node: Schema, *, optional: bool) -> Schema:
    text = node.get("description", "")
    additions = []
    if "minimum" in node and "maximum" in node:
        additions.append(f"From {node['minimum']} to {node['maximum']}.")
    if optional and "Default:" not in text:
        default = _default(node)
        additions += [f"Default: {default}."] if default else []
    return {**node, "description": " ".join([text, *additions])} if additions else node


def _default(node: Schema) -> str:
    """Return the default in words; nothing for an object, whose fields tell theirs."""
    default = node.get("default")
    if isinstance(default, bool):
        return str(default).lower()
    if default not in (None, "", {}, []):
        return str(default)
    free = "additionalProperties" in node or "x-kubernetes-preserve-unknown-fields" in node
    return "none" if free or node.get("type") == "array" else ""
