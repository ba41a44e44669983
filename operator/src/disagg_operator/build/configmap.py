"""ConfigMaps: the engine's configuration files of one role in one revision."""

from disagg_operator.build.metadata import Object, metadata
from disagg_operator.plan import names
from disagg_operator.plan.model import Plan, RolePlan


def engine_config_map(plan: Plan, role: RolePlan) -> Object:
    """Return the ConfigMap with a role's files. It never changes: another content is another revision."""
    name = names.worker(plan.name, role.role, plan.revision)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(plan, name, role.role, plan.revision),
        "data": dict(role.files),
    }
