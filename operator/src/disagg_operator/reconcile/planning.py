"""The plan by what is known of the cluster now.

That is: its ComputeDomain, gang scheduling, counts of scalers, and workers that another version of the
operator planned.
"""

from dataclasses import replace

from disagg_operator.api.parse import accept
from disagg_operator.plan.model import Plan
from disagg_operator.reconcile.applying.kept import kept_workers
from disagg_operator.reconcile.cluster import Preflight
from disagg_operator.reconcile.computedomain.keeper import DomainKeeper
from disagg_operator.reconcile.groups.gangs import with_gangs
from disagg_operator.reconcile.kinds import JOB, Object
from disagg_operator.reconcile.observe import Observed
from disagg_operator.reconcile.plans import Plans
from disagg_operator.reconcile.scaling.counts import Scaled, plan_scaled


async def plan_now(
    resource: Object,
    observed: Observed,
    plans: Plans,
    keeper: DomainKeeper,
    preflight: Preflight,
) -> Scaled:
    """Plan a deployment with the counts in force.

    Args:
        resource: the DisaggDeployment as it is.
        observed: what is there of it.
        plans: what plans.
        keeper: what knows ComputeDomains.
        preflight: what knows what the API server serves.

    Raises:
        Refusal: the specification cannot be accepted or planned.
    """
    accepted, status = accept(resource), resource.get("status", {})
    facts = await with_gangs(accepted, plans, keeper.facts(accepted), preflight, observed)
    scaled = plan_scaled(accepted, plans, facts, status, observed)
    if await keeper.must_say_nodes(scaled.plan):
        facts = replace(facts, num_nodes_required=True)
        scaled = plan_scaled(accepted, plans, facts, status, observed)
    kept = kept_workers(scaled.plan, observed)
    if kept is None:
        return scaled
    facts = replace(facts, kept=kept)
    scaled = plan_scaled(accepted, plans, facts, status, observed)
    return replace(scaled, plan=_fetching_nothing(scaled.plan, observed))


def _fetching_nothing(plan: Plan, observed: Observed) -> Plan:
    """Return a plan that starts no other download than the one by which kept workers got their model."""
    if plan.download is None or (JOB.kind, plan.download.name) in observed.objects:
        return plan
    return replace(plan, download=None)
