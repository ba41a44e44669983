"""StatefulSets: the workers of one role in one revision.

Where an instance is one pod, the replicas of one StatefulSet are the instances. Where it has several nodes,
each instance is a StatefulSet of its own: its pods have labels of their own, and come and go as a whole.
"""

from dataclasses import replace

from disagg_operator.build.configmap import worker_file_keys
from disagg_operator.build.gang import as_member, queue_labels
from disagg_operator.build.metadata import Object, metadata
from disagg_operator.build.pods import pod_template
from disagg_operator.plan import names
from disagg_operator.plan.model import Mount, Plan, RolePlan

CONTAINER = "worker"


def worker_stateful_sets(plan: Plan, role: RolePlan) -> list[Object]:
    """Return the StatefulSet of a role, or one for each of its pod groups of several nodes."""
    if role.group is None:
        return [_stateful_set(plan, role, {"replicas": role.replicas, "serviceName": role.service}, None)]
    service = names.all_pods(plan.name, role.role, plan.revision)
    size = {"replicas": role.nodes, "serviceName": service}
    return [_stateful_set(plan, role, size, number) for number in range(role.replicas)]


def _stateful_set(plan: Plan, role: RolePlan, size: Object, number: int | None) -> Object:
    identity = (plan.name, role.role, plan.revision)
    name = names.worker(*identity) if number is None else names.group(*identity, number)
    items = [{"key": key, "path": path} for path, key in worker_file_keys(plan, role).items()]
    files = {"configMap": {"name": role.config_map, "items": items}}
    config = Mount("config", role.files_path, files, read_only=True)
    ports = role.pod.ports if role.group is None else (*role.pod.ports, *role.group.ports)
    pod = replace(role.pod, mounts=(*role.pod.mounts, config), ports=ports)
    described = metadata(plan, name, role.role, plan.revision, number)
    template = pod_template(pod, CONTAINER, {**names.labels(*identity, number), **_sizes(role)})
    gang = None if role.group is None else role.group.gang
    if gang is not None:
        described = {**described, "labels": {**described["labels"], **queue_labels(gang)}}
        template = as_member(template, gang, name)
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": described,
        "spec": {
            "replicas": size["replicas"],
            "minReadySeconds": plan.takeover_seconds,
            "serviceName": size["serviceName"],
            # Pods do not wait for each other: one that never becomes ready must not block the rest.
            "podManagementPolicy": "Parallel",
            # What changes within a revision is the agent alone, and that is no reason to restart a worker.
            "updateStrategy": {"type": "OnDelete"},
            "selector": {"matchLabels": names.selector(*identity, number)},
            "template": template,
        },
    }


def _sizes(role: RolePlan) -> dict[str, str]:
    """Return how large a pod group is, for whoever reads its pods: nodes, and ranks on all of them."""
    if role.group is None:
        return {}
    return {
        names.LABEL_GROUP_SIZE: str(role.nodes),
        names.LABEL_WORLD_SIZE: str(role.nodes * max(role.gpus, 1)),
    }
