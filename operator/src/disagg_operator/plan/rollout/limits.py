"""How far a rollout may go at once: model instances beyond, and short of, those that are wanted.

Whole numbers and percentages mean what they mean in a Deployment: of the wanted replicas, a surge rounded
up and what may be unavailable rounded down, which becomes 1 where both would be 0. What is left out is
derived: a quarter more, and nothing less; or, where no surge is allowed, one instance less.
"""

from collections.abc import Mapping

from disagg_operator.api.v1alpha1.operations import RoleRollout, RolloutSpec
from disagg_operator.api.v1alpha1.resource import DisaggDeployment
from disagg_operator.plan import names
from disagg_operator.plan.model import DECODE, PREFILL, ROLES, Limits, RolloutPlan

_LONGEST_RETRY = 256
DEFAULT_SURGE = "25%"
"""As of a Deployment: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#max-surge"""


def rollout_plan(resource: DisaggDeployment) -> RolloutPlan:
    """Return how a deployment's changes are rolled out.

    Args:
        resource: an accepted DisaggDeployment.
    """
    spec = resource.spec
    replicas = {PREFILL: spec.prefill.replicas, DECODE: spec.decode.replicas}
    return RolloutPlan(
        limits=limits_of(spec.rollout, replicas),
        paused=spec.rollout.paused,
        deadline_seconds=spec.rollout.progress_deadline_seconds,
        retry=resource.metadata.annotations.get(names.ANNOTATION_RETRY, "")[:_LONGEST_RETRY],
    )


def limits_of(spec: RolloutSpec, replicas: Mapping[str, int]) -> dict[str, Limits]:
    """Return the limits of each role.

    Args:
        spec: what the user writes.
        replicas: wanted instances by role.
    """
    written = {PREFILL: spec.prefill, DECODE: spec.decode}
    return {role: role_limits(written[role] or RoleRollout(), replicas[role]) for role in ROLES}


def role_limits(written: RoleRollout, replicas: int) -> Limits:
    """Return the limits of one role.

    Args:
        written: what the user writes.
        replicas: wanted instances.
    """
    surge = instances(DEFAULT_SURGE if written.max_surge is None else written.max_surge, replicas, up=True)
    if written.max_unavailable is None:
        return Limits(surge, 0 if surge else 1)
    unavailable = min(instances(written.max_unavailable, replicas, up=False), replicas)
    return Limits(surge, unavailable if surge else max(unavailable, 1))


def instances(value: int | str, replicas: int, *, up: bool) -> int:
    """Return a number of instances.

    Args:
        value: a whole number, or a percentage of the replicas such as ``25%``.
        replicas: wanted instances.
        up: whether parts of an instance count as a whole one.
    """
    if not str(value).endswith("%"):
        return int(value)
    percent = int(str(value).removesuffix("%"))
    return -(-percent * replicas // 100) if up else percent * replicas // 100
