"""Whether all frontends are those of the plan. Pure.

A frontend of an older template may know only the workers of the revision that it was made for: after a
change of etcd it looks for them where the new ones are not. Those workers stay until it is gone.

A frontend that sends requests to the old revision alone is of use as it is until the new one can serve. Of
another template before, it would be replaced once more for that.
"""

from datetime import datetime

from disagg_operator.plan import names
from disagg_operator.plan.model import Plan
from disagg_operator.plan.rollout.reach import reaching
from disagg_operator.reconcile.applying.diff import applied_hash, is_terminating, stamp
from disagg_operator.reconcile.applying.kept import kept_frontend
from disagg_operator.reconcile.kinds import Object
from disagg_operator.reconcile.observe import Observed, is_overdue, label


def changed_over(plan: Plan, observed: Observed, now: datetime) -> bool:
    """Tell whether every frontend, those that are ending among them, is of the plan's template.

    Args:
        plan: what is desired.
        observed: what is there.
        now: the time, by which an ending pod is known to be on a lost node.
    """
    return not any_ends(observed, now) and rolled_out(plan, observed)


def any_ends(observed: Observed, now: datetime) -> bool:
    """Tell whether a frontend is ending, one on a lost node aside."""
    # A Deployment no longer counts the pods that are ending. Which template they have does not matter: few
    # end at a time, and not for long.
    return any(
        label(pod, names.LABEL_ROLE) == names.FRONTEND and is_terminating(pod) and not is_overdue(pod, now)
        for pod in observed.pods
    )


def waiting_frontend(plan: Plan, sole: str | None, observed: Observed) -> Object | None:
    """Return the frontend's Deployment, where its pods stay as they are until the plan's workers can serve.

    One that serves nobody waits for nothing: the plan's may.

    Args:
        plan: what is desired, and on its way.
        sole: the one revision that frontends are to send requests to now, or None for all that serve.
        observed: what is there.
    """
    live = observed.frontend_deployment()
    if live is None or is_terminating(live) or sole in (None, plan.revision):
        return None
    serves = live.get("status", {}).get("readyReplicas", 0) > 0
    return live if serves and _reach(live) == sole else None


def knows(plan: Plan, observed: Observed, revision: str, now: datetime) -> bool:
    """Tell whether every frontend is of the plan, and sends requests to a revision, be it among others.

    Args:
        plan: what is desired.
        observed: what is there.
        revision: the revision.
        now: the time, by which an ending pod is known to be on a lost node.
    """
    return any(changed_over(reaching(plan, each), observed, now) for each in (revision, None))


def rolled_out(plan: Plan, observed: Observed) -> bool:
    """Tell whether every frontend that is not ending is of the plan's template.

    Args:
        plan: what is desired.
        observed: what is there.
    """
    live = observed.frontend_deployment()
    # First what costs nothing: the frontend is made only where it may be the same.
    if live is None or not is_caught_up(live) or _reach(live) != plan.frontend.reach:
        return False
    # What others changed since it was applied is mended by itself.
    return applied_hash(live) == applied_hash(stamp(kept_frontend(plan, observed)))


def is_caught_up(live: Object) -> bool:
    """Tell whether all pods of a Deployment that are not ending are of its template."""
    status = live.get("status", {})
    if status.get("observedGeneration", 0) < live["metadata"]["generation"]:
        return False
    replicas: int = status.get("replicas", 0)
    updated: int = status.get("updatedReplicas", 0)
    return updated >= replicas


def _reach(live: Object) -> str:
    """Return which revision a frontend's pods send requests to; see `plan.rollout.reach`."""
    return label(live["spec"]["template"], names.LABEL_REACH)
