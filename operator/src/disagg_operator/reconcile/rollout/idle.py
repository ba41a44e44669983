"""What holds room of the cluster and serves nobody, where nothing may serve before its transport is verified.

As long as the readiness gate of every frontend is shut, no request comes in. An old revision that was never
verified then has nothing to lose, and nobody will measure it any more: it goes first, and so do frontends of
an older template. On a cluster without room for both, they would keep out what is to mend them.

Invariants: pure; gates are opened by the operator alone, so that a pod which is not ready for a moment is not
mistaken for one that may not serve; what was verified stays, and so does all where one gate is open, or a
frontend has none.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from disagg_operator.api.v1alpha1.status import TransportStatus
from disagg_operator.build.deployment import giving_way
from disagg_operator.plan import names
from disagg_operator.plan.model import Plan
from disagg_operator.plan.rollout.stepper import Revision
from disagg_operator.reconcile.applying.diff import applied_hash, identity, is_terminating, stamp
from disagg_operator.reconcile.applying.kept import kept_frontend
from disagg_operator.reconcile.observe import Observed, holds, label
from disagg_operator.reconcile.rollout.changeover import is_caught_up
from disagg_operator.reconcile.verification.proof import is_enforced, is_gated


def idle_revisions(plan: Plan, record: TransportStatus, observed: Observed, now: datetime) -> frozenset[str]:
    """Return the old revisions that serve nobody, were never verified, and will not be.

    Args:
        plan: what is desired.
        record: the last verification, as the status keeps it.
        observed: what is there.
        now: the time, by which an ending pod is known to be on a lost node.
    """
    if not _is_shut(plan, observed):
        return frozenset()
    return frozenset(observed.revisions(now).keys() - {plan.revision, record.verified_revision})


def without_worth(revisions: Mapping[str, Revision], idle: frozenset[str]) -> dict[str, Revision]:
    """Return what is there of workers, with none ready of the revisions that are idle."""
    return {
        name: {role: replace(seen, ready=0, settled=0) for role, seen in revision.items()}
        if name in idle
        else revision
        for name, revision in revisions.items()
    }


def frontends_give_way(plan: Plan, record: TransportStatus, observed: Observed, now: datetime) -> bool:
    """Tell whether frontends of an older template go before those of the plan's are ready.

    Args:
        plan: what is desired, with frontends that send requests where they are to now.
        record: the last verification, as the status keeps it.
        observed: what is there.
        now: the time, by which an ending pod is known to be on a lost node.
    """
    # First what costs nothing, and is so of most: the frontend is made for the others only.
    if not _is_shut(plan, observed) or record.verified_revision in {plan.revision, *observed.revisions(now)}:
        return False
    planned = kept_frontend(plan, observed)
    live = observed.objects.get(identity(planned))
    if live is None or is_terminating(live):
        return False
    applied, alone = applied_hash(live), is_caught_up(live)
    if applied == applied_hash(stamp(planned)):
        # Not while the counts are of another template: what was just put right would be undone.
        observed_now = live.get("status", {}).get("observedGeneration", 0) >= live["metadata"]["generation"]
        return observed_now and not alone
    return not (alone and applied == applied_hash(stamp(giving_way(planned))))


def _is_shut(plan: Plan, observed: Observed) -> bool:
    """Tell whether there are frontends, and none of them may be ready, those that are ending among them."""
    frontends = [pod for pod in observed.pods if label(pod, names.LABEL_ROLE) == names.FRONTEND]
    return (
        is_enforced(plan)
        and bool(frontends)
        and all(is_gated(pod) and not holds(pod, names.CONDITION_TRANSPORT_VERIFIED) for pod in frontends)
    )
