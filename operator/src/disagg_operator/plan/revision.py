"""The revision: a hash of all that must match between prefill and decode.

Invariant: it depends on the worker pods and their configuration files, and on nothing else; in particular not
on replica counts and what evictions must leave of them, the frontend, the rollout's settings, what the check,
the model's download and the transport agent are made of, the version of a scheduler's API, or the words that
explain a setting.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from functools import cache
from typing import Any

from disagg_operator.plan import names
from disagg_operator.plan.model import RolePlan

NO_REVISION = ""
"""Stands where the revision will be while the rest, which decides the revision, is planned."""
_EXPLAINS = "provenance"
"""Ends the names of what explains and is not applied."""


def revision_of(roles: Iterable[RolePlan]) -> str:
    """Return the revision of the workers as eight hexadecimal characters.

    Args:
        roles: the roles with NO_REVISION.
    """
    return names.digest(json.dumps([_material(role) for role in roles], sort_keys=True))


def _material(role: RolePlan) -> dict[str, Any]:
    # The engine's configuration is in the files already.
    described: dict[str, Any] = _without_words(replace(role, engine_config={}, settings=()))
    pod, group = described["pod"], described.get("group", {})
    for left_out in ("replicas", "budget"):
        described.pop(left_out, None)
    for left_out in ("check", "download"):
        pod.pop(left_out, None)
    # Whether the agent is there counts, what it is does not: another agent is no reason for a rollout.
    if "agent" in pod:
        pod["agent"] = True
    # By an upgrade of Kubernetes the same PodGroup may be of another version.
    group.get("gang", {}).pop("api_version", None)
    return described


def _without_words(value: Any) -> Any:
    """Return a value as JSON has it, without what explains and what says nothing."""
    kind = type(value)
    if kind is str:
        return value
    if is_dataclass(kind):
        parts = [(field, getattr(value, field)) for field in _fields(kind)]
        return {field: _without_words(part) for field, part in parts if _says_something(part)}
    if isinstance(value, list | tuple):
        return [_without_words(part) for part in value]
    if isinstance(value, Mapping):
        return {
            key: _without_words(part)
            for key, part in value.items()
            if not key.endswith(_EXPLAINS) and _says_something(part)
        }
    return value


def _says_something(part: Any) -> bool:
    """Tell whether a part counts. What says nothing does not: newer plans may have more parts."""
    return bool(part) or part not in (None, (), [], {})


@cache
def _fields(kind: type) -> tuple[str, ...]:
    """Return the names of a dataclass' fields, without those that explain."""
    return tuple(field.name for field in fields(kind) if not field.name.endswith(_EXPLAINS))
