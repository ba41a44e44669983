"""The writes that bring the cluster one step closer to the plan. Pure.

Order: what others refer to is applied first, and everything is applied before anything is deleted. An object
that is being deleted is left alone until it is gone, a StatefulSet until its pods are; that starts the next
reconcile. While workers wait for their ComputeDomain or their model, none of their StatefulSets is made and
none grows. Of a revision that goes, decode goes after the last prefill pod: a prompt that is in prefill still
needs it. A worker that a frontend has in a list stays until no frontend has it there any more, and so does
the list.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from disagg_operator.build.deployment import giving_way
from disagg_operator.build.objects import scaler_objects, shared_objects, worker_objects
from disagg_operator.plan import names
from disagg_operator.plan.model import DECODE, PREFILL, ROLES, Plan
from disagg_operator.plan.rollout.reach import reaching
from disagg_operator.reconcile.applying.diff import identity, is_terminating, must_apply, stamp, to_prune
from disagg_operator.reconcile.applying.kept import kept as kept_as_there
from disagg_operator.reconcile.applying.once import is_made_once, may_lack
from disagg_operator.reconcile.kinds import CONFIG_MAP, DEPLOYMENT, JOB, STATEFUL_SET, Object
from disagg_operator.reconcile.observe import Observed, label, number_of
from disagg_operator.reconcile.rollout.progress import Rollout
from disagg_operator.reconcile.scaling.scalers import applied as applied_scaler


@dataclass(frozen=True)
class Scaling:
    """A StatefulSet or Deployment whose replicas change, and nothing else of it.

    Attributes:
        obj: what is there.
        replicas: pods that it is to have.
        annotations: what is to be remembered of it.
    """

    obj: Object
    replicas: int
    annotations: Mapping[str, str]


@dataclass(frozen=True)
class Changes:
    """What is to be written, each in order.

    Attributes:
        apply: objects to apply.
        scale: what is to have other replicas and stays otherwise: StatefulSets of other revisions than the
            plan's, and frontends that wait for the plan's workers.
        delete: objects to delete.
    """

    apply: tuple[Object, ...]
    scale: tuple[Scaling, ...]
    delete: tuple[Object, ...]


def changes(
    plan: Plan,
    rollout: Rollout,
    observed: Observed,
    owner: str,
    now: datetime,
    *,
    waits: bool = False,
    changed_over: bool = True,
    waiting_frontend: Object | None = None,
    frontends_give_way: bool = False,
) -> Changes:
    """Return what has to be written now.

    Args:
        plan: what is desired.
        rollout: where the rollout stands.
        observed: what is there.
        owner: uid of the deployment.
        now: the time, by which an ending pod is known to be on a lost node.
        waits: whether no worker may be started now.
        changed_over: whether every frontend is of the plan's template, those that are ending among them.
        waiting_frontend: the frontend's Deployment, where its pods stay as they are for now.
        frontends_give_way: whether its old pods go before new ones are ready.
    """
    reached = reaching(plan, rollout.step.sole)
    shared = [
        stamp(giving_way(obj) if frontends_give_way and obj["kind"] == DEPLOYMENT.kind else obj)
        for obj in kept_as_there(shared_objects(reached), reached, observed)
    ]
    scalers = [applied_scaler(obj, observed) for obj in scaler_objects(plan)]
    step, forward = rollout.step, rollout.target == plan.revision
    listed = observed if plan.frontend.listed and not changed_over else None
    built = worker_objects(_stepped(plan, rollout, listed)) if forward else []
    workers = [stamp(obj) for obj in kept_as_there(built, plan, observed)]
    wanted = [*shared, *workers, *scalers] if step.run else [*shared, *scalers]
    if waits:
        wanted = [obj for obj in wanted if not _starts_workers(obj, observed)]
    staying = None if waiting_frontend is None else identity(waiting_frontend)
    wanted = [obj for obj in wanted if identity(obj) != staying]
    applied = {identity(obj) for obj in wanted if not is_made_once(obj) and _differs(obj, observed, now)}
    return Changes(
        apply=tuple(
            obj
            for obj in wanted
            if (may_lack(obj, observed, applied) if is_made_once(obj) else identity(obj) in applied)
        ),
        scale=(*_scalings(plan, rollout, observed, now), *_frontend_scaling(plan, waiting_frontend)),
        delete=tuple(
            obj
            for obj in _deletions(
                [*shared, *workers, *scalers],
                rollout,
                observed,
                owner,
                restores=not forward,
                keeps=plan.keeps_workers,
            )
            if not (_revision(obj) in step.removed and _is_needed_by_prefill(obj, observed, now))
            and (changed_over or not _is_of_frontend(obj))
        ),
    )


def _stepped(plan: Plan, rollout: Rollout, listed: Observed | None) -> Plan:
    """Return the plan with the instances that its revision is to have now.

    Args:
        plan: what is desired.
        rollout: where the rollout stands.
        listed: what is there, where frontends may still have more workers in their lists; else None.
    """
    replicas = dict(rollout.step.replicas)
    if listed is not None:
        for role in ROLES:
            there = listed.workers(role).get(plan.revision)
            replicas[role] = max(replicas[role], 0 if there is None else there.asked)
    roles = {role: replace(planned, replicas=replicas[role]) for role, planned in plan.roles.items()}
    return replace(plan, roles=roles)


def _scalings(plan: Plan, rollout: Rollout, observed: Observed, now: datetime) -> Iterator[Scaling]:
    """Yield the StatefulSets of other revisions than the plan's whose replicas are to change."""
    wanted = {**rollout.step.kept}
    if rollout.target != plan.revision:
        wanted[rollout.target] = rollout.step.replicas
    for obj in observed.stateful_sets():
        role, counts = label(obj, names.LABEL_ROLE), wanted.get(_revision(obj) or "")
        if role in ROLES and counts is not None and not is_terminating(obj):
            has = obj["spec"].get("replicas", 1)
            replicas = _replicas(obj, counts[role], observed)
            waits = counts[role] == 0 and _is_needed_by_prefill(obj, observed, now)
            if replicas != has and not waits:
                parked = label(obj, names.LABEL_GROUP) and not replicas
                yield Scaling(obj, replicas, {names.ANNOTATION_NODES: str(has)} if parked else {})


def _frontend_scaling(plan: Plan, waiting: Object | None) -> Iterator[Scaling]:
    if waiting is not None and waiting["spec"]["replicas"] != plan.frontend.replicas:
        yield Scaling(waiting, plan.frontend.replicas, {})


def _replicas(obj: Object, instances: int, observed: Observed) -> int:
    """Return the pods that a StatefulSet is to have, of so many instances of its role and revision."""
    if not label(obj, names.LABEL_GROUP):
        return instances
    keys = (names.LABEL_ROLE, names.LABEL_REVISION)
    groups = [
        each
        for each in observed.groups()
        if [label(each, key) for key in keys] == [label(obj, key) for key in keys]
    ]
    lower = sum(number_of(each) < number_of(obj) for each in groups)
    return max(map(_nodes, groups)) if lower < instances else 0


def _nodes(group: Object) -> int:
    remembered = group["metadata"].get("annotations", {}).get(names.ANNOTATION_NODES, "")
    return int(group["spec"]["replicas"]) or (int(remembered) if remembered.isdecimal() else 0)


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


def _differs(obj: Object, observed: Observed, now: datetime) -> bool:
    live = observed.objects.get(identity(obj))
    if live is not None and is_terminating(live):
        return False
    if live is None and obj["kind"] == STATEFUL_SET.kind and _is_taken(obj, observed, now):
        return False
    if obj["kind"] == JOB.kind:
        # It cannot be changed, and another download has another name.
        return live is None
    return must_apply(obj, live)


def _is_taken(stateful_set: Object, observed: Observed, now: datetime) -> bool:
    """Tell whether pods of an earlier StatefulSet of this name still have the names of its own.

    Its controller would try to make them at ever longer intervals.
    """
    role, revision = label(stateful_set, names.LABEL_ROLE), label(stateful_set, names.LABEL_REVISION)
    name = stateful_set["metadata"]["name"]
    return any(
        pod["metadata"]["name"].rpartition("-")[0] == name for pod in observed.lasting(role, revision, now)
    )


def _deletions(
    desired: list[Object],
    rollout: Rollout,
    observed: Observed,
    owner: str,
    *,
    restores: bool,
    keeps: bool,
) -> list[Object]:
    """Return what goes now: first the StatefulSets, and what their pods use only once these have ended."""
    live = list(observed.objects.values())
    # StatefulSets of no revision are services beside the workers.
    running = {_revision(obj) for obj in live if obj["kind"] == STATEFUL_SET.kind} - {None}
    # Pods outlive their StatefulSets for a while.
    running |= {label(pod, names.LABEL_REVISION) for pod in observed.pods} - {""}
    # What belongs to no revision, such as an etcd or the ServiceAccount, is used by the pods of all of them.
    step = rollout.step
    # A revision that is restored is not the plan's, so that none of its objects is desired.
    staying = {*step.kept, *([rollout.target] if restores else [])}
    outgoing = running & step.others
    # The same goes for workers that another version of the operator planned, but for lists of frontends.
    kept: frozenset[str | None] = frozenset({*staying, None} if outgoing or keeps else staying)
    # Nobody waits any more for a model that is no longer asked for; what was fetched stays.
    idle = [] if keeps else [obj for obj in live if obj["kind"] == JOB.kind]
    idle += [obj for obj in live if keeps and not outgoing and _is_of_frontend(obj)]
    return to_prune(idle, desired, owner, frozenset()) + [
        obj
        for obj in to_prune((obj for obj in live if obj["kind"] != JOB.kind), desired, owner, kept)
        if obj["kind"] == STATEFUL_SET.kind or _revision(obj) not in running
    ]


def _is_needed_by_prefill(obj: Object, observed: Observed, now: datetime) -> bool:
    """Tell whether an object is decode's, and its revision still has a prefill pod, be it an ending one."""
    return (
        obj["kind"] == STATEFUL_SET.kind
        and label(obj, names.LABEL_ROLE) == DECODE
        and bool(observed.lasting(PREFILL, label(obj, names.LABEL_REVISION), now))
    )


def _is_of_frontend(obj: Object) -> bool:
    """Tell whether an object is a configuration of the frontend, which its pods see by name."""
    return obj["kind"] == CONFIG_MAP.kind and label(obj, names.LABEL_ROLE) == names.FRONTEND


def _revision(obj: Object) -> str | None:
    revision: str | None = obj["metadata"]["labels"].get(names.LABEL_REVISION)
    return revision
