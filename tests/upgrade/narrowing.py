"""What a schema refuses that an older one let through. Pure.

Only what CustomResourceDefinitions use is known. A pattern or a validation rule that is another one counts as
narrower, since no program can tell.
"""

from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

_MOST = ("maximum", "maxLength", "maxItems", "maxProperties")
_LEAST = ("minimum", "minLength", "minItems", "minProperties")
_SAME = (
    *("type", "format", "default", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"),
    "x-kubernetes-int-or-string",
)
_OPEN = "x-kubernetes-preserve-unknown-fields"


def narrowings(old: Schema, new: Schema, path: str = "") -> Iterator[str]:
    """Yield, in words, where what the old schema lets through the new one refuses, cuts or reads otherwise.

    Args:
        old: an OpenAPI schema of a CustomResourceDefinition.
        new: another one.
        path: the field that both describe.
    """
    where = path or "the whole"
    for key in _SAME:
        if key in old and old[key] != new.get(key):
            yield f"{where}: {key} was {old[key]}, is {new.get(key)}"
    for key in ("nullable", _OPEN):
        if old.get(key) and not new.get(key):
            yield f"{where}: {key} is gone"
    yield from _bounds(old, new, where)
    if "pattern" in new and new["pattern"] != old.get("pattern"):
        yield f"{where}: pattern was {old.get('pattern')}, is {new['pattern']}"
    if "enum" in new and (
        lost := [value for value in old.get("enum", ["anything"]) if value not in new["enum"]]
    ):
        yield f"{where}: {', '.join(map(str, lost))} is no value any more"
    for name in set(new.get("required", [])) - set(old.get("required", [])):
        yield f"{where}: {name} is required now"
    known = {rule["rule"] for rule in old.get("x-kubernetes-validations", [])}
    for rule in new.get("x-kubernetes-validations", []):
        if rule["rule"] not in known:
            yield f"{where}: there is a further rule: {rule['rule']}"
    yield from _below(old, new, path)


def _bounds(old: Schema, new: Schema, where: str) -> Iterator[str]:
    for key in _MOST:
        if key in new and new[key] < old.get(key, float("inf")):
            yield f"{where}: {key} was {old.get(key)}, is {new[key]}"
    for key in _LEAST:
        if key in new and new[key] > old.get(key, float("-inf")):
            yield f"{where}: {key} was {old.get(key)}, is {new[key]}"


def _below(old: Schema, new: Schema, path: str) -> Iterator[str]:
    theirs = new.get("properties", {})
    for name, schema in old.get("properties", {}).items():
        if name in theirs:
            yield from narrowings(schema, theirs[name], f"{path}.{name}")
        elif not new.get(_OPEN):
            yield f"{path}.{name}: is gone"
    for key, suffix in (("items", "[]"), ("additionalProperties", ".*")):
        if isinstance(old.get(key), dict):
            yield from narrowings(old[key], new.get(key) or {}, path + suffix)
