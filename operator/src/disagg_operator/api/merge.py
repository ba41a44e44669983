"""Merges one tree of maps and lists over another, such as a partial pod template over the derived one.

Maps merge by key. Lists whose entries all have a name (containers, env, …) merge by name and new entries
follow; volume mounts merge by mount path; any other list is replaced. ``$patch: delete`` in a map or entry
removes what it would be merged with; so does a null, which ``kubectl apply`` drops unless it is server-side.
"""

from collections.abc import Mapping
from typing import Any

_KEYS = ("name", "mountPath")
_PATCH, _DELETE = "$patch", "delete"
"""How Kubernetes' own strategic merge removes something."""


def merged(base: Any, overlay: Any) -> Any:
    """Return ``overlay`` merged over ``base``. Neither is changed."""
    if isinstance(base, Mapping) and isinstance(overlay, Mapping):
        return _merged_maps(base, overlay)
    if isinstance(base, list) and isinstance(overlay, list):
        key = _merge_key([*base, *overlay])
        return overlay if key is None else _merged_lists(base, overlay, key)
    return overlay


def _merged_maps(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in overlay.items():
        if value is None or deletes(value):
            result.pop(key, None)
        else:
            result[key] = merged(result[key], value) if key in result else _kept(value)
    return result


def _kept(value: Any) -> Any:
    return [entry for entry in value if not deletes(entry)] if isinstance(value, list) else value


def deletes(value: Any) -> bool:
    """Tell whether an overlay's value removes what it would be merged with."""
    return isinstance(value, Mapping) and value.get(_PATCH) == _DELETE


def _merge_key(entries: list[Any]) -> str | None:
    for key in reversed(_KEYS):
        if entries and all(
            isinstance(entry, Mapping) and isinstance(entry.get(key), str) for entry in entries
        ):
            return key
    return None


def _merged_lists(base: list[Any], overlay: list[Any], key: str) -> list[Any]:
    result = {entry[key]: entry for entry in base}
    for entry in overlay:
        if deletes(entry):
            result.pop(entry[key], None)
            continue
        known = result.get(entry[key])
        result[entry[key]] = entry if known is None else merged(known, entry)
    return list(result.values())
