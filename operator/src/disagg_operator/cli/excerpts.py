"""Parts of manifests for people: the objects of one role, and objects without the programs in them. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from disagg_operator.plan.model import ROLES
from disagg_operator.plan.names import FRONTEND, LABEL_COMPONENT

Manifest = dict[str, Any]

_MOST_LINES = 10
"""A text with more is a program, unless it is a file of settings."""
_SETTINGS = (".yaml", ".json")


def of_component(manifests: Iterable[Manifest], component: str) -> list[Manifest]:
    """Return the objects of one role; for any other name those that are of no role alone.

    Args:
        manifests: all that is made of a deployment.
        component: prefill, decode or frontend, or ``deployment`` for the rest.
    """
    alone = (*ROLES, FRONTEND)

    def owner(manifest: Manifest) -> str:
        return str(manifest["metadata"].get("labels", {}).get(LABEL_COMPONENT, ""))

    if component in alone:
        return [each for each in manifests if owner(each) == component]
    return [each for each in manifests if owner(each) not in alone]


def shortened(value: Any, name: str = "") -> Any:
    """Return a value with a line in place of each program, which says how many lines it has.

    Args:
        value: an object, or a part of one.
        name: the key that it stands under.
    """
    if isinstance(value, Mapping):
        return {key: shortened(part, key) for key, part in value.items()}
    if isinstance(value, list):
        return [shortened(part, name) for part in value]
    if not isinstance(value, str) or name.endswith(_SETTINGS):
        return value
    count = len(value.splitlines())
    return f"… {count} lines of {name}" if count > _MOST_LINES else value
