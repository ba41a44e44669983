"""Which counts are in force of roles that are scaled from outside. Pure.

Invariants: a count that cannot be planned, such as one beyond an NVLink domain, harms nothing: the plan is
made with the counts closest to what is asked for that can be, on the way from those that were in force last.
A scaler that was lost is made again with the count that was in force, not with the one that it once began
with.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from disagg_operator.api.problems import Refusal
from disagg_operator.api.v1alpha1.resource import DisaggDeployment
from disagg_operator.plan import names
from disagg_operator.plan.cluster import ClusterFacts
from disagg_operator.plan.model import Plan
from disagg_operator.plan.scaling import bounded, bounds
from disagg_operator.reconcile.kinds import DISAGG_SCALER, Object
from disagg_operator.reconcile.observe import Observed
from disagg_operator.reconcile.plans import Plans

Counts = Mapping[str, int]
"""Model instances by role; roles that are not scaled from outside are missing."""


@dataclass(frozen=True)
class Scaled:
    """A plan with the counts in force.

    Attributes:
        plan: the plan.
        refusal: why it is not the counts asked for that are in force; nothing where it is.
    """

    plan: Plan
    refusal: str = ""


def plan_scaled(
    deployment: DisaggDeployment,
    plans: Plans,
    facts: ClusterFacts,
    status: Object,
    observed: Observed,
) -> Scaled:
    """Return the plan with the counts that scalers ask for, or with those that come closest.

    Args:
        deployment: the accepted DisaggDeployment.
        plans: what plans.
        facts: what else is known of the cluster.
        status: the deployment's status, which tells the counts that were in force last.
        observed: what is there, the scalers among it.

    Raises:
        Refusal: it is not the counts that cannot be planned.
    """

    def with_counts(counts: Counts) -> Plan:
        return plans.plan(deployment, replace(facts, counts=counts))

    wanted = _asked(deployment, status, observed)
    try:
        return Scaled(with_counts(wanted))
    except Refusal as refusal:
        known = {role: last for role in wanted if (last := _last(status, role)) is not None}
        counts: Counts = {**wanted, **known}
        if counts == wanted or not _can(with_counts, counts):
            raise
        counts = _furthest(with_counts, counts, wanted)
        for role in wanted:
            counts = _furthest(with_counts, counts, {**counts, role: wanted[role]})
        return Scaled(with_counts(counts), str(refusal))


def _asked(deployment: DisaggDeployment, status: Object, observed: Observed) -> Counts:
    """Return the counts that scalers ask for, held between their bounds."""
    name, found = deployment.metadata.name, {}
    for role, bound in bounds(deployment.spec).items():
        last = _last(status, role)
        scaler = observed.objects.get((DISAGG_SCALER.kind, names.scaler(name, role)))
        if scaler is not None:
            found[role] = bounded(bound, scaler["spec"]["replicas"])
        elif last is not None:
            found[role] = bounded(bound, last)
    return found


def _furthest(planner: Callable[[Counts], Plan], start: Counts, end: Counts) -> Counts:
    """Return the counts on the way from ``start``, which can be planned, that are furthest and can be too."""
    steps = max((abs(end[role] - start[role]) for role in end), default=0)

    def at(step: int) -> Counts:
        return {role: start[role] + (end[role] - start[role]) * step // steps for role in end}

    least, most = 0, steps
    while least < most:
        middle = (least + most + 1) // 2
        if _can(planner, at(middle)):
            least = middle
        else:
            most = middle - 1
    return at(least) if steps else start


def _can(planner: Callable[[Counts], Plan], counts: Counts) -> bool:
    try:
        planner(counts)
    except Refusal:
        return False
    return True


def _last(status: Object, role: str) -> int | None:
    """Return the count of a role that was in force last by the word of a scaler, or None."""
    shown: Object = status.get("roles", {}).get(role, {})
    return shown["desiredReplicas"] if "scaler" in shown else None
