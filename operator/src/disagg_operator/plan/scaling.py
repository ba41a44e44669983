"""Roles that are scaled from outside: which count is in force, and the scaler that each of them has.

Who owns the count: with ``spec.scaling.<role>`` the scaler does, between the bounds, and
``spec.<role>.replicas`` is only what a new scaler starts with. Without it, ``spec.<role>.replicas`` does.
"""

from collections.abc import Mapping

from disagg_operator.api.v1alpha1.operations import RoleScaling
from disagg_operator.api.v1alpha1.resource import DisaggDeployment
from disagg_operator.api.v1alpha1.spec import DisaggDeploymentSpec
from disagg_operator.plan import names
from disagg_operator.plan.model import DECODE, PREFILL, RolePlan, ScalerPlan


def bounds(spec: DisaggDeploymentSpec) -> Mapping[str, RoleScaling]:
    """Return the bounds of the roles that are scaled from outside, by role."""
    if spec.scaling is None:
        return {}
    asked = {PREFILL: spec.scaling.prefill, DECODE: spec.scaling.decode}
    return {role: bound for role, bound in asked.items() if bound is not None}


def bounded(bound: RoleScaling, count: int) -> int:
    """Return the count that comes closest to ``count`` between the bounds."""
    return min(max(count, bound.min_replicas), bound.max_replicas)


def with_counts(resource: DisaggDeployment, counts: Mapping[str, int]) -> DisaggDeployment:
    """Return the deployment with the counts in force as replicas of its roles.

    Args:
        resource: what the user wrote.
        counts: what scalers ask for, by role; a role without one starts from its replicas.
    """
    spec, changed = resource.spec, {}
    for role, bound in bounds(spec).items():
        written = spec.prefill if role == PREFILL else spec.decode
        count = bounded(bound, counts.get(role, written.replicas))
        changed[role] = written.model_copy(update={"replicas": count})
    if not changed:
        return resource
    return resource.model_copy(update={"spec": spec.model_copy(update=changed)})


def scaler_plans(resource: DisaggDeployment, roles: Mapping[str, RolePlan]) -> tuple[ScalerPlan, ...]:
    """Return the scalers of a deployment.

    Args:
        resource: the deployment with the counts in force.
        roles: its workers by role.
    """
    return tuple(
        ScalerPlan(
            name=names.scaler(resource.metadata.name, role),
            role=role,
            lowest=bound.min_replicas,
            highest=bound.max_replicas,
            replicas=roles[role].replicas,
            selector=_selector(resource.metadata.name, roles[role]),
        )
        for role, bound in bounds(resource.spec).items()
    )


def _selector(deployment: str, role: RolePlan) -> Mapping[str, str]:
    """Return labels that select one pod for each instance: HPA divides by how many pods there are."""
    leader = {} if role.group is None else {names.LABEL_POD_INDEX: "0"}
    return {**names.selector(deployment, role.role), **leader}
