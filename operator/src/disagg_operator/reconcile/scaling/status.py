"""The status of a DisaggScaler, computed from one reconcile's knowledge of its deployment. Pure.

| condition | reasons |
|---|---|
| ScalingActive | CountFollowed, Paused, NotAccepted |
| ScalingLimited, True | TooManyReplicas, TooFewReplicas, NotPlannable |
| ScalingLimited, False | DesiredWithinRange |
| Ready, True | AllReady, ScaledToZero |
| Ready, False | ReplicasNotReady, ReplicasLeaving, and the checks of `preflight.fault.Check` |

The words of ScalingActive and ScalingLimited are those of the HorizontalPodAutoscaler.
"""

from datetime import datetime

from disagg_operator.api.v1alpha1.scaler import DisaggScalerStatus
from disagg_operator.plan.model import ScalerPlan
from disagg_operator.reconcile.kinds import Object
from disagg_operator.reconcile.preflight.fault import Check
from disagg_operator.reconcile.reporting.conditions import Verdict
from disagg_operator.reconcile.reporting.status import condition, transition_times
from disagg_operator.reconcile.reporting.troubles import first_trouble
from disagg_operator.reconcile.reporting.view import View

_ROOM = (Check.TOO_FEW_NODES, Check.NO_LARGE_DOMAIN)


def scaler_status(scaler: Object, role: str, planned: ScalerPlan | None, view: View, now: datetime) -> Object:
    """Return the status of a scaler, in the shape of its JSON.

    Args:
        scaler: the scaler as it is.
        role: role that it scales.
        planned: what was planned of it; None for a refused specification, which leaves its count as it was.
        view: what this reconcile knows.
        now: the time that conditions which flip are given.
    """
    current = scaler.get("status", {})
    workloads = view.observed.workers(role).values()
    existing = sum(workload.existing for workload in workloads)
    ready = sum(workload.ready for workload in workloads)
    if planned is None:
        return {**current, "conditions": _conditions(scaler, [_active(view)], now, kept=True)} | {
            "replicas": existing,
            "readyReplicas": ready,
        }
    said = [_active(view), _limited(scaler, planned, view), _ready(planned, existing, ready, view)]
    status = DisaggScalerStatus(
        observed_generation=scaler["metadata"].get("generation"),
        replicas=existing,
        ready_replicas=ready,
        desired_replicas=planned.replicas,
        selector=",".join(f"{key}={value}" for key, value in planned.selector.items()),
        bounds=f"{planned.lowest}-{planned.highest}",
    ).model_dump(mode="json", by_alias=True, exclude_none=True)
    return {**status, "conditions": _conditions(scaler, said, now, kept=False)}


def _active(view: View) -> Verdict:
    if view.plan is None:
        why = "The deployment's specification is refused: see its condition Accepted. What runs stays."
        return Verdict("ScalingActive", "False", "NotAccepted", why)
    if view.paused:
        return Verdict(
            "ScalingActive", "False", "Paused", "The deployment is paused, and no count is changed."
        )
    what = "This count is followed, and not replicas of the deployment's role: those are where it started."
    return Verdict("ScalingActive", "True", "CountFollowed", what)


def _limited(scaler: Object, planned: ScalerPlan, view: View) -> Verdict:
    wanted: int = scaler["spec"]["replicas"]
    within = min(max(wanted, planned.lowest), planned.highest)
    bounds = f"spec.scaling.{planned.role}"
    if view.scaling_refusal and within != planned.replicas:
        why = f"{within} cannot be had, and {planned.replicas} is in force. {view.scaling_refusal}"
        return Verdict("ScalingLimited", "True", "NotPlannable", why)
    if wanted > planned.highest:
        why = f"{wanted} is above {bounds}.maxReplicas, and {planned.replicas} is in force."
        return Verdict("ScalingLimited", "True", "TooManyReplicas", why)
    if wanted < planned.lowest:
        why = f"{wanted} is below {bounds}.minReplicas, and {planned.replicas} is in force."
        return Verdict("ScalingLimited", "True", "TooFewReplicas", why)
    return Verdict("ScalingLimited", "False", "DesiredWithinRange", "The count asked for is in force.")


def _ready(planned: ScalerPlan, existing: int, ready: int, view: View) -> Verdict:
    wanted = planned.replicas
    if ready < wanted:
        faults = () if view.platform is None else view.platform.faults
        room = next((fault for fault in faults if fault.check in _ROOM), None)
        trouble = first_trouble(view.observed.pods_of(planned.role, view.target)) or ""
        reason = "ReplicasNotReady" if room is None else room.check.value
        parts = (f"{ready} of {wanted} are ready.", trouble, "" if room is None else str(room))
        return Verdict("Ready", "False", reason, " ".join(part for part in parts if part))
    if existing > wanted:
        return Verdict(
            "Ready", "False", "ReplicasLeaving", f"{existing} are there still, and {wanted} in force."
        )
    if wanted == 0:
        return Verdict("Ready", "True", "ScaledToZero", "No instance is in force, and none is there.")
    return Verdict("Ready", "True", "AllReady", f"{ready} of {wanted} are ready.")


def _conditions(scaler: Object, said: list[Verdict], now: datetime, *, kept: bool) -> list[Object]:
    current = scaler.get("status", {})
    times, generation = transition_times(current), scaler["metadata"].get("generation")
    made: list[Object] = [
        condition(verdict, generation, times, now).model_dump(mode="json", by_alias=True, exclude_none=True)
        for verdict in said
    ]
    spoken = {each["type"] for each in made}
    old = [each for each in current.get("conditions", []) if kept and each["type"] not in spoken]
    return [*made, *old]
