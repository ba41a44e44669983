"""The rollout stepper: which revisions of the workers to have now, from what is observed and nothing else.

Prefill and decode of one revision belong together: they come and go together, and one revision's prefill
never serves another's decode. Replica counts are no part of a revision.

Invariants: no memory and no clock, so that an operator that dies at any point goes on where it was. Under
Surge, the old revision that serves best is kept until the desired one is ready and known to the frontends,
and no frontend is left that may know only older ones. A revision whose StatefulSets still run is taken up
again as it is, whatever revisions came in between.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from disagg_operator.api.v1alpha1.operations import RolloutStrategy
from disagg_operator.plan.model import ROLES


@dataclass(frozen=True)
class RoleObservation:
    """The StatefulSets of one role in one revision. A replica is a model instance.

    Attributes:
        asked: replicas that they are to have.
        ready: replicas that are ready.
        settled: replicas that have been ready for so long that every frontend knows them.
        terminating: whether all of it is being deleted and still has pods.
    """

    asked: int
    ready: int
    settled: int
    terminating: bool = False


Revision = Mapping[str, RoleObservation]
"""What is there of one revision, by role. A role without a StatefulSet is absent."""


@dataclass(frozen=True)
class Step:
    """What to have now.

    Attributes:
        run: whether the desired revision's objects are applied now.
        kept: old revisions that stay.
        removed: old revisions that go, or are going: their StatefulSets are to be deleted.
        serving: the revision that answers requests, or None.
        complete: whether the desired revision is ready and alone.
    """

    run: bool
    kept: frozenset[str]
    removed: frozenset[str]
    serving: str | None
    complete: bool


def step(
    strategy: RolloutStrategy,
    desired: str,
    replicas: Mapping[str, int],
    observed: Mapping[str, Revision],
    *,
    held: bool = False,
    changed_over: bool = True,
    proven: bool = True,
) -> Step:
    """Return what to have now.

    Args:
        strategy: how a new revision takes over.
        desired: revision that the specification asks for.
        replicas: replicas that the specification asks for, by role.
        observed: what is there, by revision.
        held: whether workers of the desired revision cannot be started yet: until they can, all that runs
            stays.
        changed_over: whether every frontend is of the current specification.
        proven: whether the desired revision may take over as far as its transport is concerned.
    """
    old = {name: revision for name, revision in observed.items() if name != desired and revision}
    new = observed.get(desired, {})
    ready = all(_is_complete(new.get(role), replicas[role]) for role in ROLES)
    may_take_over = ready and changed_over and proven
    takes_over = may_take_over and all(_settled(new.get(role)) >= replicas[role] for role in ROLES)
    if held:
        run, kept = bool(new), frozenset(old)
    elif strategy is RolloutStrategy.RECREATE:
        run, kept = not old, frozenset[str]()
    else:
        run, kept = True, frozenset() if takes_over else _best(old)
    return Step(
        run=run,
        kept=kept,
        removed=frozenset(old) - kept,
        serving=_serving(desired, new, {name: old[name] for name in kept}),
        complete=ready and not old,
    )


def _is_complete(role: RoleObservation | None, replicas: int) -> bool:
    if role is None:
        # Pod groups of several nodes have no object at all where there is no instance.
        return replicas == 0
    return not role.terminating and role.asked == replicas and role.ready >= replicas


def _best(old: Mapping[str, Revision]) -> frozenset[str]:
    """Return the one old revision worth keeping, if any has a pod that is ready."""
    worth = {name: _worth(revision) for name, revision in old.items()}
    alive = [name for name, (_, total) in worth.items() if total > 0]
    # The name decides between equals, so that every reconcile decides alike.
    return frozenset([max(alive, key=lambda name: (worth[name], name))]) if alive else frozenset()


def _worth(revision: Revision) -> tuple[int, int]:
    """Return the ready replicas of the weaker role, then those of both."""
    ready = [_ready(revision.get(role)) for role in ROLES]
    return min(ready), sum(ready)


def _settled(role: RoleObservation | None) -> int:
    return 0 if role is None else role.settled


def _ready(role: RoleObservation | None) -> int:
    return 0 if role is None or role.terminating else role.ready


def _serving(desired: str, new: Revision, kept: Mapping[str, Revision]) -> str | None:
    for name, revision in (*kept.items(), (desired, new)):
        if _worth(revision)[0] > 0:
            return name
    return None
