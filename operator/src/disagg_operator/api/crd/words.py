"""Completes descriptions, so that ``kubectl explain`` tells bounds and defaults that it would not show."""

import re
from typing import Any

Schema = dict[str, Any]


def documented(node: Schema) -> Schema:
    """Return a schema whose descriptions name bounds and defaults and are written for a terminal."""
    result = dict(node)
    if "description" in node:
        result["description"] = _description(node)
    if "properties" in node:
        result["properties"] = {name: documented(child) for name, child in node["properties"].items()}
    for key in ("additionalProperties", "items"):
        if key in node:
            result[key] = documented(node[key])
    return result


def _description(node: Schema) -> str:
    text = re.sub(r"\s+", " ", node["description"]).replace("``", "`").strip()
    additions = []
    if "minimum" in node and "maximum" in node:
        additions.append(f"From {node['minimum']} to {node['maximum']}.")
    default = node.get("default")
    if "Default:" not in text and default is not None and default not in ({}, [], ""):
        additions.append(f"Default: {str(default).lower() if isinstance(default, bool) else default}.")
    return " ".join([text, *additions])
