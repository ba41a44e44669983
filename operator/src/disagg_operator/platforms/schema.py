"""JSON schema of profiles that an installation adds, for the schema of the chart's values.

It is looser than the models: an added profile says only what differs from the one that it is like, its values
need no reason and no source, null removes what is inherited, and ``$patch: delete`` an entry of a list.
"""

from typing import Any

from disagg_operator.platforms.documents import LIKE
from disagg_operator.platforms.profile import FabricProfile, MachineProfile, ProfileModel

Schema = dict[str, Any]

PREFIX = "profile."
"""Begins the names of the definitions."""
ROOTS: dict[str, type[ProfileModel]] = {"machines": MachineProfile, "fabrics": FabricProfile}
"""The sorts of profiles that an installation may add, by the folder that they are read from."""
_NAME = "^[a-z0-9]([-.a-z0-9]{0,61}[a-z0-9])?$"
_WORDS = {"title", "default", "description"}


def definitions() -> dict[str, Schema]:
    """Return the definitions of all parts of added profiles, sorted by name."""
    found: dict[str, Schema] = {}
    for root in ROOTS.values():
        schema = root.model_json_schema(ref_template=f"#/definitions/{PREFIX}{{model}}")
        parts = schema.pop("$defs")
        found |= {
            f"{PREFIX}{name}": _entry(part) if "properties" in part else _bare(part)
            for name, part in parts.items()
        }
        found[f"{PREFIX}{root.__name__}"] = _profile(schema)
    return dict(sorted(found.items()))


def platforms() -> Schema:
    """Return the schema of the chart's value ``platforms``."""
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            folder: {
                "description": "Profiles by name: lower-case letters, digits, dashes and dots.",
                "type": "object",
                "additionalProperties": False,
                "patternProperties": {_NAME: {"$ref": f"#/definitions/{PREFIX}{root.__name__}"}},
            }
            for folder, root in ROOTS.items()
        },
    }


def _profile(schema: Schema) -> Schema:
    part = _loose(schema)
    part["properties"][LIKE] = {"type": ["string", "array"], "items": {"type": "string"}}
    return part


def _entry(schema: Schema) -> Schema:
    part = _loose(schema)
    part["properties"].pop("line", None)
    part["properties"]["$patch"] = {"const": "delete"}
    if "name" in part["properties"]:
        part["required"] = ["name"]
    return part


def _loose(schema: Schema) -> Schema:
    """Return an object's schema with nothing required and null allowed everywhere."""
    properties = {name: _nullable(_bare(part)) for name, part in schema["properties"].items()}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _nullable(schema: Schema) -> Schema:
    known = schema.get("anyOf", [schema])
    return {"anyOf": known if {"type": "null"} in known else [*known, {"type": "null"}]}


def _bare(schema: Any) -> Any:
    """Return a schema without the words that pydantic makes up."""
    if isinstance(schema, dict):
        return {key: _bare(part) for key, part in schema.items() if key not in _WORDS}
    return [_bare(part) for part in schema] if isinstance(schema, list) else schema
