"""The revision: a hash of all that must match between prefill and decode.

Invariant: it depends on the worker pods and their configuration files, and on nothing else; in particular not
on replica counts, the frontend, or the rollout's settings.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict

from disagg_operator.plan import names
from disagg_operator.plan.model import RolePlan


def revision_of(roles: Iterable[RolePlan]) -> str:
    """Return the revision of the workers as eight hexadecimal characters."""
    material = []
    for role in roles:
        described = asdict(role)
        del described["replicas"]
        material.append(described)
    return names.digest(json.dumps(material, sort_keys=True))
