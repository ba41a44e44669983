"""What ``kubectl disagg status`` tells of deployments, as documents for programs. Pure.

Invariant: only what the cluster says is told; what is not known is None, and never a guess.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from disagg_operator.cli import rollout_report, transport_report
from disagg_operator.cli.containers import lasting
from disagg_operator.cli.waiting import is_seen, wait_of
from disagg_operator.plan import names
from disagg_operator.plan.model import ROLES
from disagg_operator.reconcile.kinds import Object
from disagg_operator.reconcile.observe import container_statuses, is_ready, label
from disagg_operator.reconcile.reporting.troubles import first_trouble
from disagg_operator.verify.evidence import Evidence

SHOWN_ROLES = (*ROLES, names.FRONTEND)
_GPU = "/gpu"
Instances = Mapping[str, Mapping[str, tuple[int, int]]]
"""Ready and asked instances by revision and role."""


def summary(resource: Object) -> dict[str, Any]:
    """Return what a deployment's own status tells.

    Args:
        resource: the DisaggDeployment.
    """
    metadata, spec, status = resource["metadata"], resource.get("spec", {}), resource.get("status", {})
    runtime, wait = spec.get("runtime", {}), wait_of(resource)
    return {
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "created": metadata.get("creationTimestamp"),
        "seen": is_seen(resource),
        "available": condition(resource, "Available")["status"],
        "waitsFor": None if wait is None else wait.document(),
        "platform": spec.get("platform"),
        "engine": runtime.get("engine"),
        "frontend": runtime.get("frontend"),
        "version": runtime.get("version"),
        "address": status.get("address") or None,
        "revision": status.get("revision") or None,
        "updateRevision": status.get("updateRevision") or None,
        "roles": {role: _role(status.get("roles", {}).get(role, {})) for role in SHOWN_ROLES},
        "transport": _transport(resource),
        "conditions": list(status.get("conditions", [])),
    }


def overview(
    resource: Object,
    pods: Iterable[Object],
    instances: Instances,
    evidence: Mapping[str, Evidence | str] | None = None,
) -> dict[str, Any]:
    """Return all that is told of one deployment.

    Args:
        resource: the DisaggDeployment.
        pods: its pods.
        instances: what is there of its workers.
        evidence: what agents told, or why they did not, by name of the pod; None where nobody was asked.
    """
    rollout = resource.get("status", {}).get("rollout")
    rows = rollout_report.status_rows(resource, {name: dict(roles) for name, roles in instances.items()})
    return {
        **summary(resource),
        "rollout": None if rollout is None else dict(rollout),
        "revisions": [
            {"name": name, "is": word, "prefill": prefill, "decode": decode}
            for name, word, prefill, decode in rows
        ],
        "computeDomain": resource.get("status", {}).get("computeDomain"),
        "pods": [_pod(pod, evidence) for pod in sorted(pods, key=_order)],
    }


def condition(resource: Object, kind: str) -> Object:
    """Return a condition, or one that says nothing."""
    found = resource.get("status", {}).get("conditions", [])
    unknown = {"type": kind, "status": "Unknown", "reason": "", "message": ""}
    return next((dict(each) for each in found if each["type"] == kind), unknown)


def pod_state(pod: Object) -> str:
    """Return the state of a pod in one word of kubectl's, sidecars included: the first that is not well."""
    status = pod.get("status", {})
    if "deletionTimestamp" in pod["metadata"]:
        return "Terminating"
    running_on = lasting(pod)
    for container in container_statuses(pod):
        state = container.get("state", {})
        waiting = state.get("waiting", {}).get("reason", "")
        if waiting and waiting not in ("PodInitializing", "ContainerCreating"):
            return str(waiting)
        ended = state.get("terminated")
        # That an init container has ended well is as it should be.
        if ended is not None and (container in running_on or ended.get("exitCode")):
            return str(ended.get("reason") or f"ExitCode:{ended.get('exitCode')}")
    return str(status.get("reason") or status.get("phase") or "Unknown")


def _transport(resource: Object) -> dict[str, Any]:
    told = transport_report.document(resource)
    beside = ("namespace", "name", "roles", "waitsFor")
    found = {key: value for key, value in told.items() if key not in beside}
    return {**found, "step": transport_report.transport(resource).get("step")}


def _role(found: Object) -> dict[str, Any]:
    return {
        "ready": found.get("readyReplicas", 0),
        "desired": found.get("desiredReplicas", 0),
        "updated": found.get("updatedReplicas", 0),
        "transport": found.get("transport"),
        "preflight": found.get("preflight"),
        "wedged": found.get("wedged"),
        "scaler": found.get("scaler"),
    }


def _order(pod: Object) -> tuple[int, str, int, int, str]:
    role = label(pod, names.LABEL_ROLE)
    rank = SHOWN_ROLES.index(role) if role in SHOWN_ROLES else len(SHOWN_ROLES)
    numbers = (label(pod, key) for key in (names.LABEL_GROUP, names.LABEL_POD_INDEX))
    group, index = (int(number) if number.isdigit() else -1 for number in numbers)
    return rank, label(pod, names.LABEL_REVISION), group, index, str(pod["metadata"]["name"])


def _pod(pod: Object, evidence: Mapping[str, Evidence | str] | None) -> dict[str, Any]:
    metadata = pod["metadata"]
    role, group = label(pod, names.LABEL_ROLE), label(pod, names.LABEL_GROUP)
    index = label(pod, names.LABEL_POD_INDEX)
    worker = role in ROLES
    return {
        "name": metadata["name"],
        "role": role,
        "revision": label(pod, names.LABEL_REVISION) or None,
        # Without groups of several nodes each pod is an instance of its own.
        "group": (group or index or None) if worker else None,
        "rank": index if worker and group else None,
        "node": pod.get("spec", {}).get("nodeName"),
        "ready": is_ready(pod),
        "state": pod_state(pod),
        "restarts": sum(each.get("restartCount", 0) for each in container_statuses(pod)),
        "created": metadata.get("creationTimestamp"),
        "trouble": None if is_ready(pod) else first_trouble([pod]),
        "devices": _devices(pod),
        "nics": _nics((evidence or {}).get(str(metadata["name"]))),
    }


def _devices(pod: Object) -> dict[str, int]:
    """Return the devices but GPUs that a pod's containers were promised, by resource name."""
    found: dict[str, int] = {}
    for container in pod.get("spec", {}).get("containers", []):
        for resource, amount in container.get("resources", {}).get("limits", {}).items():
            if "/" in resource and not resource.endswith(_GPU) and str(amount).isdigit():
                found[resource] = found.get(resource, 0) + int(amount)
    return found


def _nics(told: Evidence | str | None) -> list[dict[str, Any]] | str | None:
    """Return the NICs that an agent sees, or why it told nothing."""
    if told is None or isinstance(told, str):
        return told
    return [
        {
            "name": device.name,
            "kind": device.kind,
            "port": device.port,
            "state": device.state or None,
            "given": device.given,
            "rxBytes": device.counters.get("rx_bytes"),
            "txBytes": device.counters.get("tx_bytes"),
        }
        for device in told.devices
    ]
