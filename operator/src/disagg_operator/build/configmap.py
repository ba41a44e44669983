"""ConfigMaps: the engine's configuration files of one role in one revision, and those of the frontend."""

import json

from disagg_operator.build.metadata import Object, metadata
from disagg_operator.plan import names
from disagg_operator.plan.model import Plan, RolePlan


def engine_config_map(plan: Plan, role: RolePlan) -> Object:
    """Return the ConfigMap with a role's files.

    They never change: another content is another revision. Only the program of the check is no part of it.
    """
    name = names.worker(plan.name, role.role, plan.revision)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(plan, name, role.role, plan.revision),
        "data": {**role.files, **({} if role.pod.check is None else role.pod.check.files)},
    }


def frontend_config_map(plan: Plan) -> Object:
    """Return the ConfigMap with the frontend's files. Other files are another ConfigMap, and a rollout."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(plan, frontend_files_name(plan), names.FRONTEND),
        "data": dict(plan.frontend.files),
    }


def frontend_files_name(plan: Plan) -> str:
    """Return the name of the ConfigMap with the frontend's files."""
    return names.frontend_files(plan.name, json.dumps(plan.frontend.files, sort_keys=True))
