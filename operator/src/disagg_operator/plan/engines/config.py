"""An engine's configuration: derived settings, and what the user lays over them.

A setting's key is its path, the parts separated by dots. Invariant: every setting of the outcome has a
provenance.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from disagg_operator.plan.model import ConfigSetting, Provenance


def nested(settings: Iterable[ConfigSetting]) -> dict[str, Any]:
    """Return settings as the tree that a configuration file holds."""
    tree: dict[str, Any] = {}
    for setting in settings:
        *sections, last = setting.key.split(".")
        place = tree
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = setting.value
    return tree


def laid_over(derived: Mapping[str, Any], written: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the user writes over what is derived.

    Maps merge by key and lists are replaced. A null removes a derived setting; elsewhere it is a value, for
    engines know settings that are switched off by it.
    """
    found = dict(derived)
    for key, value in written.items():
        if key not in found:
            found[key] = value
        elif value is None:
            del found[key]
        elif isinstance(value, Mapping) and isinstance(found[key], Mapping):
            found[key] = laid_over(found[key], value)
        else:
            found[key] = value
    return found


def explained(
    config: Mapping[str, Any], derived: Iterable[ConfigSetting], path: str
) -> tuple[ConfigSetting, ...]:
    """Return every setting of a configuration with its reason.

    Args:
        config: the outcome.
        derived: the settings that were derived.
        path: path of the field in which the user wrote the others.
    """
    known = {setting.key: setting for setting in derived}
    by_user = Provenance("Set by the user.", path)
    return tuple(
        known[key] if key in known and known[key].value == value else ConfigSetting(key, value, by_user)
        for key, value in _leaves(config)
    )


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def value_at(config: Mapping[str, Any], key: str, absent: Any = None) -> Any:
    """Return the value at a key, or ``absent`` where there is none or a section on the way is no map."""
    found: Any = config
    for part in key.split("."):
        found = found.get(part, absent) if isinstance(found, Mapping) else absent
    return found
