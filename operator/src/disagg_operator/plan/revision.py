"""The revision: a hash of all that must match between prefill and decode.

Invariant: it depends on the worker pods and their configuration files, and on nothing else; in particular not
on replica counts and what evictions must leave of them, the frontend, the rollout's settings, what the check,
the model's download and the transport agent are made of, the version of a scheduler's API, or the words that
explain a setting.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
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
    material = []
    for role in roles:
        # The engine's configuration is in the files already.
        described = asdict(replace(role, engine_config={}, settings=()))
        del described["replicas"], described["budget"]
        # Whether the agent is there counts, what it is does not: another agent is no reason for a rollout.
        described["pod"]["agent"] = role.pod.agent is not None or None
        del described["pod"]["check"], described["pod"]["download"]
        if role.group is not None and role.group.gang is not None:
            # By an upgrade of Kubernetes the same PodGroup may be of another version.
            del described["group"]["gang"]["api_version"]
        material.append(_without_words(described))
    return names.digest(json.dumps(material, sort_keys=True))


def _without_words(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            key: _without_words(part)
            for key, part in value.items()
            # What says nothing counts for nothing: plans of a newer operator may have more parts.
            if not key.endswith(_EXPLAINS) and part not in (None, (), [], {})
        }
    if isinstance(value, list | tuple):
        return [_without_words(part) for part in value]
    return value
