"""The writes that bring the cluster one step closer to the plan. Pure.

Order: what others refer to is applied first, and everything is applied before anything is deleted. An object
that is being deleted is left alone until it is gone; its disappearance starts the next reconcile.
"""

from dataclasses import dataclass

from disagg_operator.build.objects import shared_objects, worker_objects
from disagg_operator.plan import names
from disagg_operator.plan.model import Plan
from disagg_operator.plan.rollout import Step
from disagg_operator.reconcile.diff import identity, is_terminating, must_apply, stamp, to_prune
from disagg_operator.reconcile.kinds import Object
from disagg_operator.reconcile.observe import Observed


@dataclass(frozen=True)
class Changes:
    """Objects to apply and objects to delete, each in order."""

    apply: tuple[Object, ...]
    delete: tuple[Object, ...]


def changes(plan: Plan, step: Step, observed: Observed, owner: str) -> Changes:
    """Return what has to be written now.

    Args:
        plan: what is desired.
        step: where the rollout stands.
        observed: what is there.
        owner: uid of the deployment.
    """
    shared = [stamp(obj) for obj in shared_objects(plan)]
    workers = [stamp(obj) for obj in worker_objects(plan)]
    now = [*shared, *workers] if step.run else shared
    return Changes(
        apply=tuple(obj for obj in now if _differs(obj, observed)),
        delete=tuple(to_prune(observed.objects.values(), [*shared, *workers], owner, _kept(step, observed))),
    )


def _differs(obj: Object, observed: Observed) -> bool:
    live = observed.objects.get(identity(obj))
    if live is not None and is_terminating(live):
        return False
    return must_apply(obj, live)


def _kept(step: Step, observed: Observed) -> frozenset[str | None]:
    """Return the revisions whose objects stay.

    Beside the revisions that the rollout keeps, these are the ones whose pods are still ending (they need
    their configuration and Service until then), and as long as there are any, what belongs to no revision.
    """
    ending = {
        str(obj["metadata"]["labels"].get(names.LABEL_REVISION))
        for obj in observed.objects.values()
        if obj["kind"] == "StatefulSet" and is_terminating(obj)
    }
    kept: set[str | None] = {*step.kept, *ending}
    return frozenset({*kept, None} if kept else kept)
