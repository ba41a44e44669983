"""Which API of gang scheduling a deployment uses: what the cluster serves when a revision is made.

Invariant: what the cluster serves may change at any time, and restarts no pod. Where the choice is the
operator's, a revision that is there keeps the one that it was made with.
"""

from collections.abc import Iterator
from dataclasses import replace

from disagg_operator.api.problems import Refusal
from disagg_operator.api.v1alpha1.placement import GangScheduler
from disagg_operator.api.v1alpha1.resource import DisaggDeployment
from disagg_operator.plan import names
from disagg_operator.plan.cluster import ClusterFacts
from disagg_operator.plan.gang import GangApi, asked_of, wanted_apis
from disagg_operator.reconcile.cluster import Preflight
from disagg_operator.reconcile.kinds import gang_kind
from disagg_operator.reconcile.observe import Observed, label
from disagg_operator.reconcile.plans import Plans

_Choice = tuple[GangApi, ...]


async def with_gangs(
    deployment: DisaggDeployment,
    plans: Plans,
    facts: ClusterFacts,
    preflight: Preflight,
    observed: Observed,
) -> ClusterFacts:
    """Return what planning needs to know, with the APIs of gang scheduling to plan with.

    Args:
        deployment: an accepted DisaggDeployment.
        plans: what plans.
        facts: what else is known of the cluster.
        preflight: knows what the API server serves.
        observed: what is there of the deployment.
    """
    wanted = tuple(wanted_apis(deployment.spec))
    if not wanted:
        return facts
    served = await preflight.serving([gang_kind(api) for api in wanted])
    found = replace(facts, gang_apis=tuple(api for api in wanted if served.get(gang_kind(api))))
    if asked_of(deployment.spec).scheduler is not GangScheduler.AUTO:
        return found
    there = {label(obj, names.LABEL_REVISION) for obj in observed.stateful_sets()} - {""}
    for choice in _choices(found.gang_apis, wanted):
        trial = replace(facts, gang_apis=choice)
        if there and _revision(deployment, plans, trial) in there:
            return trial
    return found


def _revision(deployment: DisaggDeployment, plans: Plans, facts: ClusterFacts) -> str | None:
    """Return the revision that would be planned, or None where none would."""
    try:
        return plans.plan(deployment, facts).revision
    except Refusal:
        return None


def _choices(served: _Choice, wanted: _Choice) -> Iterator[_Choice]:
    """Yield what a revision may have been made with, the likeliest first."""
    yield served
    if served:
        yield ()
    # Versions of one kind give one revision.
    shapes = {(api.scheduler, api.kind): (api,) for api in wanted}
    yield from (choice for choice in shapes.values() if choice[0] not in served)
