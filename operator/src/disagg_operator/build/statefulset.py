"""StatefulSets: the workers of one role in one revision."""

from dataclasses import replace

from disagg_operator.build.metadata import Object, metadata
from disagg_operator.build.pods import pod_template
from disagg_operator.plan import names
from disagg_operator.plan.model import Mount, Plan, RolePlan

CONTAINER = "worker"


def worker_stateful_set(plan: Plan, role: RolePlan) -> Object:
    """Return the StatefulSet whose replicas are the role's model instances."""
    name = names.worker(plan.name, role.role, plan.revision)
    config = Mount("config", role.files_path, {"configMap": {"name": name}}, read_only=True)
    pod = replace(role.pod, mounts=(*role.pod.mounts, config))
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata(plan, name, role.role, plan.revision),
        "spec": {
            "replicas": role.replicas,
            "minReadySeconds": plan.takeover_seconds,
            "serviceName": name,
            # Instances do not depend on each other: one that never becomes ready must not block the rest.
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": names.selector(plan.name, role.role, plan.revision)},
            "template": pod_template(pod, CONTAINER, names.labels(plan.name, role.role, plan.revision)),
        },
    }
