"""ConfigMaps: the configuration files of the engines of one revision, and those of the frontend."""

import json
from collections.abc import Mapping

from disagg_operator.build.metadata import Object, metadata
from disagg_operator.plan import names
from disagg_operator.plan.model import Plan, RolePlan


def worker_config_map(plan: Plan) -> Object:
    """Return the ConfigMap with the files of both roles.

    They never change: another content is another revision. Only the program of the check is no part of it.
    """
    roles = plan.roles.values()
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(plan, names.workers(plan.name, plan.revision), names.WORKER, plan.revision),
        "data": {
            key: _files(role)[name] for role in roles for name, key in worker_file_keys(plan, role).items()
        },
    }


def worker_file_keys(plan: Plan, role: RolePlan) -> dict[str, str]:
    """Return the keys of a role's files in the ConfigMap, by the names under which its pods see them.

    A file that differs from the other role's of its name has a key of its own.
    """
    all_files = [_files(each) for each in plan.roles.values()]
    return {
        name: name
        if all(files.get(name, content) == content for files in all_files)
        else f"{role.role}.{name}"
        for name, content in _files(role).items()
    }


def _files(role: RolePlan) -> Mapping[str, str]:
    return {**role.files, **({} if role.pod.check is None else role.pod.check.files)}


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
