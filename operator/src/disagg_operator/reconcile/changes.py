"""The writes that bring the cluster one step closer to the plan. Pure.

Order: what others refer to is applied first, and everything is applied before anything is deleted. An object
that is being deleted is left alone until it is gone; its disappearance starts the next reconcile. While
workers wait for their ComputeDomain, none of their StatefulSets is made and none grows.
"""

from dataclasses import dataclass

from disagg_operator.build.objects import shared_objects, worker_objects
from disagg_operator.plan import names
from disagg_operator.plan.model import Plan
from disagg_operator.plan.rollout import Step
from disagg_operator.reconcile.diff import identity, is_terminating, must_apply, stamp, to_prune
from disagg_operator.reconcile.kinds import SECRET, STATEFUL_SET, Object
from disagg_operator.reconcile.observe import Observed
from disagg_operator.reconcile.ssh_keys import may_lack


@dataclass(frozen=True)
class Changes:
    """Objects to apply and objects to delete, each in order."""

    apply: tuple[Object, ...]
    delete: tuple[Object, ...]


def changes(plan: Plan, step: Step, observed: Observed, owner: str, *, waits: bool = False) -> Changes:
    """Return what has to be written now.

    Args:
        plan: what is desired.
        step: where the rollout stands.
        observed: what is there.
        owner: uid of the deployment.
        waits: whether no worker may be started now.
    """
    shared = [stamp(obj) for obj in shared_objects(plan)]
    workers = [stamp(obj) for obj in worker_objects(plan)]
    now = [*shared, *workers] if step.run else shared
    if waits:
        now = [obj for obj in now if not _starts_workers(obj, observed)]
    return Changes(
        apply=tuple(obj for obj in now if _differs(obj, observed)),
        delete=tuple(_deletions([*shared, *workers], step, observed, owner)),
    )


def must_start(plan: Plan, observed: Observed) -> bool:
    """Tell whether workers of a plan are still to be started: a StatefulSet is to be made or to grow."""
    return any(_starts_workers(obj, observed) for obj in worker_objects(plan))


def _starts_workers(obj: Object, observed: Observed) -> bool:
    # Services beside the workers are StatefulSets too, and belong to no revision.
    if obj["kind"] != STATEFUL_SET.kind or _revision(obj) is None:
        return False
    live = observed.objects.get(identity(obj))
    if live is None or is_terminating(live):
        return True
    return bool(obj["spec"]["replicas"] > live["spec"].get("replicas", 1))


def _differs(obj: Object, observed: Observed) -> bool:
    if obj["kind"] == SECRET.kind:
        return may_lack(obj, observed)
    live = observed.objects.get(identity(obj))
    if live is not None and is_terminating(live):
        return False
    return must_apply(obj, live)


def _deletions(desired: list[Object], step: Step, observed: Observed, owner: str) -> list[Object]:
    """Return what goes now: first the StatefulSets, and what their pods use only once these have ended."""
    live = list(observed.objects.values())
    # StatefulSets of no revision are services beside the workers.
    running = {_revision(obj) for obj in live if obj["kind"] == STATEFUL_SET.kind} - {None}
    # What belongs to no revision, such as an etcd or the ServiceAccount, is used by the pods of all of them.
    outgoing = running & {*step.kept, *step.removed}
    kept: frozenset[str | None] = frozenset({*step.kept, None} if outgoing else step.kept)
    return [
        obj
        for obj in to_prune(live, desired, owner, kept)
        if obj["kind"] == STATEFUL_SET.kind or _revision(obj) not in running
    ]


def _revision(obj: Object) -> str | None:
    revision: str | None = obj["metadata"]["labels"].get(names.LABEL_REVISION)
    return revision
