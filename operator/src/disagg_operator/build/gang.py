"""Gang scheduling of a pod group: the object that asks for it, and what the group's pods say of it.

Invariant: the least number of pods is that of all pods of the group. The object has the name of the group's
StatefulSet, and is made once: nothing in it changes while the group is there.
"""

from collections.abc import Callable, Mapping

from disagg_operator.api.v1alpha1.placement import GangScheduler
from disagg_operator.build.metadata import Object, metadata
from disagg_operator.plan import names
from disagg_operator.plan.model import GangPlan, Plan, PodPlan, RolePlan

_CONSTRAINTS = "schedulingConstraints"
_WORKLOAD = "Workload"
_PODS = "pods"
"""Name of the one pod group inside a Workload of Kubernetes 1.35."""
_QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
_KAI_GROUP, _KAI_LEAVE_ALONE = "pod-group-name", "kai.scheduler/skip-podgrouper"
_COSCHEDULING_GROUP = "scheduling.x-k8s.io/pod-group"
_PREEMPTED_TOGETHER = ("scheduling.k8s.io/v1beta1", "scheduling.k8s.io/v1alpha3")
"""Versions in which a PodGroup can ask for that, whatever feature gates are on."""


def queue_labels(gang: GangPlan) -> dict[str, str]:
    """Return what a group's StatefulSet says to its scheduler: to Kueue, its queue."""
    return {_QUEUE_LABEL: gang.queue or ""} if gang.scheduler == GangScheduler.KUEUE else {}


def as_member(template: Object, gang: GangPlan, group: str) -> Object:
    """Return the pod template of a group so that its pods are scheduled all or none.

    Args:
        template: the pod template, with the user's overrides; a scheduler that these name stays.
        gang: how the pods are scheduled.
        group: name of the group.
    """
    labels, annotations, spec = _membership(gang, group)
    name = gang.scheduler_name
    scheduled = {"schedulerName": name, **template["spec"]} if name else template["spec"]
    described = {**template["metadata"], "labels": {**template["metadata"]["labels"], **labels}}
    if annotations:
        described["annotations"] = {**described.get("annotations", {}), **annotations}
    return {**template, "metadata": described, "spec": {**scheduled, **spec}}


def gang_objects(plan: Plan, role: RolePlan) -> list[Object]:
    """Return the objects by which a role's groups are scheduled all or none; Kueue makes its own."""
    gang = None if role.group is None else role.group.gang
    if gang is None or gang.scheduler == GangScheduler.KUEUE:
        return []
    make = _SPECS[GangScheduler(gang.scheduler)]
    return [
        {
            "apiVersion": gang.api_version,
            "kind": gang.kind,
            "metadata": metadata(
                plan,
                names.group(plan.name, role.role, plan.revision, number),
                role.role,
                plan.revision,
                number,
            ),
            "spec": make(gang, role),
        }
        for number in range(role.replicas)
    ]


def _membership(gang: GangPlan, group: str) -> tuple[dict[str, str], dict[str, str], Object]:
    """Return labels, annotations and fields by which pods belong to a group."""
    match gang.scheduler:
        case GangScheduler.KAI:
            return {}, {_KAI_GROUP: group, _KAI_LEAVE_ALONE: "true"}, {}
        case GangScheduler.COSCHEDULING:
            return {_COSCHEDULING_GROUP: group}, {}, {}
        case GangScheduler.NATIVE if gang.kind == _WORKLOAD:
            return {}, {}, {"workloadRef": {"name": group, "podGroup": _PODS}}
        case GangScheduler.NATIVE:
            return {}, {}, {"schedulingGroup": {"podGroupName": group}}
    return {}, {}, {}


def without_constraints(obj: Object) -> Object | None:
    """Return a PodGroup without constraints, or None where it has none.

    Where the gate TopologyAwareWorkloadScheduling is off, the API server refuses constraints.
    """
    if _CONSTRAINTS not in obj.get("spec", {}):
        return None
    return {**obj, "spec": {key: value for key, value in obj["spec"].items() if key != _CONSTRAINTS}}


def _native(gang: GangPlan, role: RolePlan) -> Object:
    policy = {"gang": {"minCount": role.nodes}}
    if gang.kind == _WORKLOAD:
        return {"podGroups": [{"name": _PODS, "policy": policy}]}
    key = _shared_key(role.pod)
    # Pod affinity alone would not do: the scheduler places pod by pod, and once the first one is somewhere
    # without room for the rest, it does not try elsewhere.
    constraints: Object = {_CONSTRAINTS: {"topology": [{"key": key}]}} if key else {}
    together: Object = {"disruptionMode": {"all": {}}} if gang.api_version in _PREEMPTED_TOGETHER else {}
    return {"schedulingPolicy": policy, **constraints, **together}


def _shared_key(pod: PodPlan) -> str | None:
    """Return the node label whose value the pods of a group must share, the narrowest of several."""
    shared = (pod.grouped, pod.joined, pod.together)
    return next((each.topology_key for each in shared if each is not None and each.required), None)


def _kai(gang: GangPlan, role: RolePlan) -> Object:
    return {"minMember": role.nodes, "queue": gang.queue}


def _coscheduling(_: GangPlan, role: RolePlan) -> Object:
    return {"minMember": role.nodes}


_SPECS: Mapping[GangScheduler, Callable[[GangPlan, RolePlan], Object]] = {
    GangScheduler.NATIVE: _native,
    GangScheduler.KAI: _kai,
    GangScheduler.COSCHEDULING: _coscheduling,
}
