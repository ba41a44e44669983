"""How many pods of a role, or of the frontend, an eviction must leave."""

from disagg_operator.api.v1alpha1.operations import DrainSpec
from disagg_operator.api.wording import counted
from disagg_operator.plan.model import BudgetPlan, Provenance

_FIELD = "spec.drain.maxUnavailable"


def budget_plan(drain: DrainSpec, replicas: int, nodes: int = 1) -> BudgetPlan | None:
    """Return the budget of a role or the frontend, or None where all may go, or the user makes it.

    A pod that is evicted takes its whole instance with it, so that one pod is as much as all of its group:
    with 4 instances on 2 nodes each, 7 pods must be there to take one, and the next waits until they are
    again. A number of pods, not of those that are lacking, so that a rollout's surplus may go, and a
    revision that never becomes ready blocks no drain of a node.

    Args:
        drain: what the user asks for.
        replicas: model instances.
        nodes: pods of each.
    """
    if not drain.disruption_budgets:
        return None
    most = drain.max_unavailable
    least = replicas * nodes if most == 0 else (replicas - most + 1) * nodes - 1
    if least <= 0:
        return None
    taken = counted(most, "pod") if nodes == 1 else f"{counted(most, 'model instance')} of {nodes} pods"
    reason = f"Evictions take {taken} of {replicas} at a time."
    return BudgetPlan(least, Provenance(reason, _FIELD))
