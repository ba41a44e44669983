"""PodDisruptionBudgets: what evictions, as when a node is drained, must leave of a role or the frontend.

One budget covers the pods of all revisions, so that those of a rollout share it. Pods that are not ready may
always go: they serve nobody, and a drain must not wait for one that never becomes ready.
"""

from disagg_operator.build.metadata import Object, metadata
from disagg_operator.plan import names
from disagg_operator.plan.model import BudgetPlan, Plan


def disruption_budgets(plan: Plan) -> list[Object]:
    """Return the budgets of the roles and the frontend, where the operator makes them."""
    budgets = {role.role: role.budget for role in plan.roles.values()}
    budgets[names.FRONTEND] = plan.frontend.budget
    return [_budget(plan, component, budget) for component, budget in budgets.items() if budget is not None]


def _budget(plan: Plan, component: str, budget: BudgetPlan) -> Object:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(plan, names.budget(plan.name, component), component),
        "spec": {
            "minAvailable": budget.min_available,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": names.selector(plan.name, component)},
        },
    }
