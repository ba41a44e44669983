"""The status of a deployment, computed from one reconcile's knowledge. Pure.

Invariants: equal knowledge gives an equal status, so that nothing is written while nothing changes; a
condition's transition time changes only when its status does.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from disagg_operator.api.v1alpha1.status import (
    ComputeDomainStatus,
    Condition,
    ConditionType,
    DisaggDeploymentStatus,
    DomainNode,
    RolesStatus,
    RoleStatus,
    TransportStatus,
)
from disagg_operator.plan import names
from disagg_operator.plan.model import DECODE, PREFILL
from disagg_operator.reconcile.groups.wedged import last_wedged
from disagg_operator.reconcile.kinds import Object
from disagg_operator.reconcile.reporting.conditions import Verdict, verdicts
from disagg_operator.reconcile.reporting.view import View
from disagg_operator.reconcile.reporting.worker_checks import summary
from disagg_operator.reconcile.verification.proof import labels_of

_MOST_NODES = 64
_LASTING = (
    ConditionType.COMPUTE_DOMAIN_READY,
    ConditionType.TRANSPORT_VERIFIED,
    ConditionType.MODEL_READY,
)
"""What stays as it was while a specification is refused."""


def compute(resource: Object, view: View, now: datetime) -> Object:
    """Return the whole status, in the shape of its JSON.

    Args:
        resource: the DisaggDeployment as it is, with its current status.
        view: what this reconcile knows.
        now: the time that conditions which flip are given.
    """
    metadata = resource["metadata"]
    current = resource.get("status", {})
    generation = metadata.get("generation")
    times = transition_times(current)
    conditions = [condition(verdict, generation, times, now) for verdict in verdicts(view)]
    plan = view.plan
    labels = labels_of(resource) if view.proof is None else view.proof.labels
    if plan is None:
        # What was accepted last stays in force, and its domain with it.
        conditions += _kept(current)
    status = DisaggDeploymentStatus(
        observed_generation=generation,
        address=plan.address if plan else current.get("address", ""),
        revision=view.step.serving or "",
        update_revision=view.target,
        roles=RolesStatus(
            prefill=_worker_status(view, resource, PREFILL, labels.get(PREFILL)),
            decode=_worker_status(view, resource, DECODE, labels.get(DECODE)),
            frontend=_frontend_status(view, metadata["name"]),
        ),
        transport=_transport(view, resource),
        rollout=view.rollout.record,
        compute_domain=_compute_domain(view, current),
        conditions=conditions,
    )
    return status.model_dump(mode="json", by_alias=True, exclude_none=True)


def _transport(view: View, resource: Object) -> TransportStatus:
    if view.plan is None or view.proof is None:
        kept = TransportStatus.model_validate(resource.get("status", {}).get("transport", {}))
        return kept.model_copy(update={"step": None})
    configured = str(view.plan.transfer)
    record = view.proof.record
    shown = {"configured": configured, "summary": record.observed or configured}
    return record.model_copy(update={**shown, "step": view.proof.step or None})


def _kept(current: Mapping[str, Any]) -> list[Condition]:
    return [
        Condition.model_validate(condition)
        for condition in current.get("conditions", [])
        if condition["type"] in _LASTING
    ]


def _compute_domain(view: View, current: Mapping[str, Any]) -> ComputeDomainStatus | None:
    found = view.domain
    if found is None:
        last = current.get("computeDomain") if view.plan is None else None
        return None if last is None else ComputeDomainStatus.model_validate(last)
    nodes = [DomainNode(name=node.name, clique=node.clique, ready=node.ready) for node in found.nodes]
    return ComputeDomainStatus(name=found.name, clique=found.clique, nodes=nodes[:_MOST_NODES])


def current_target(resource: Object) -> str:
    """Return the revision that was accepted last, or nothing where there is none yet."""
    return str(resource.get("status", {}).get("updateRevision", ""))


def condition(
    verdict: Verdict, generation: int | None, times: Mapping[tuple[str, str], datetime], now: datetime
) -> Condition:
    """Return the condition that a verdict becomes.

    Args:
        verdict: what is to be said.
        generation: generation of the specification that it speaks of.
        times: when the conditions that are there last changed, as `transition_times` tells.
        now: the time that a condition which flips is given.
    """
    return Condition(
        type=str(verdict.type),
        status=verdict.status,
        reason=verdict.reason,
        message=verdict.message,
        observed_generation=generation,
        last_transition_time=times.get((verdict.type, verdict.status), now),
    )


def transition_times(status: Mapping[str, Any]) -> dict[tuple[str, str], datetime]:
    """Return when conditions of a status last changed, by type and status."""
    return {
        (condition["type"], condition["status"]): datetime.fromisoformat(condition["lastTransitionTime"])
        for condition in status.get("conditions", [])
    }


def is_news(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Tell whether a change of status is worth writing at once: more than counts and messages changed."""
    return _gist(old) != _gist(new)


def last_report(resource: Object) -> datetime | None:
    """Return when the operator last wrote the status, as the API server recorded it."""
    times = [
        datetime.fromisoformat(entry["time"])
        for entry in resource["metadata"].get("managedFields", [])
        if entry.get("subresource") == "status" and entry.get("manager") == names.MANAGER and "time" in entry
    ]
    return max(times, default=None)


def serves(status: Mapping[str, Any]) -> bool:
    """Tell whether a status says that the deployment is available."""
    conditions = status.get("conditions", [])
    return any((each["type"], each["status"]) == (ConditionType.AVAILABLE, "True") for each in conditions)


def decides(status: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the part of a status by which the next reconcile decides: all but what only tells people."""
    told = {"conditions", "observedGeneration", "address"}
    counted = {"replicas", "readyReplicas", "updatedReplicas", "ready", "preflight", "wedged"}
    roles: Mapping[str, Mapping[str, Any]] = status.get("roles", {})
    return {key: value for key, value in status.items() if key not in told} | {
        "roles": {
            name: {key: value for key, value in role.items() if key not in counted}
            for name, role in roles.items()
        }
    }


def _gist(status: Mapping[str, Any]) -> object:
    conditions = [
        (found["type"], found["status"], found["reason"], found.get("observedGeneration"))
        for found in status.get("conditions", [])
    ]
    transport = status.get("transport", {})
    return (
        conditions,
        [status.get(key) for key in ("observedGeneration", "revision", "updateRevision", "address")],
        [transport.get(key) for key in ("revision", "verifiedRevision", "request")],
    )


def _worker_status(view: View, resource: Object, role: str, transport: str | None) -> RoleStatus:
    workloads = view.observed.workers(role)
    target = workloads.get(view.target)
    desired = view.plan.roles[role].replicas if view.plan else (target.asked if target else 0)
    ready = sum(workload.ready for workload in workloads.values())
    return RoleStatus(
        replicas=sum(workload.existing for workload in workloads.values()),
        ready_replicas=ready,
        updated_replicas=target.existing if target else 0,
        desired_replicas=desired,
        ready=f"{ready}/{desired}",
        selector=_selector(resource["metadata"]["name"], role),
        scaler=_scaler(view, resource, role),
        preflight=summary(view.observed.pods_of(role, None)) or None,
        wedged=last_wedged(view.observed.pods_of(role, None)),
        transport=transport,
    )


def _scaler(view: View, resource: Object, role: str) -> str | None:
    """Return the name of the scaler whose count is in force; of a refused specification that stays."""
    if view.plan is None:
        kept: str | None = resource.get("status", {}).get("roles", {}).get(role, {}).get("scaler")
        return kept
    scaler = view.plan.scaler(role)
    return None if scaler is None else scaler.name


def _frontend_status(view: View, name: str) -> RoleStatus:
    workload = view.observed.frontend()
    asked = workload.asked if workload else 0
    desired = view.plan.frontend.replicas if view.plan else asked
    return RoleStatus(
        replicas=workload.existing if workload else 0,
        ready_replicas=workload.ready if workload else 0,
        updated_replicas=workload.updated if workload else 0,
        desired_replicas=desired,
        ready=f"{workload.ready if workload else 0}/{desired}",
        selector=_selector(name, names.FRONTEND),
    )


def _selector(name: str, role: str) -> str:
    return ",".join(f"{key}={value}" for key, value in names.selector(name, role).items())
