"""The steps of a rollout before it is run: the stepper, played against pods that all become ready.

Invariant: the very stepper that runs rollouts decides; nothing here knows how.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from disagg_operator.plan.model import ROLES
from disagg_operator.plan.rollout.moves import Pair, total
from disagg_operator.plan.rollout.stepper import (
    OPEN,
    Counts,
    Gates,
    Goal,
    Revision,
    RoleObservation,
    Step,
    step,
)


@dataclass(frozen=True)
class PlannedStep:
    """One step of a rollout. Pairs are model instances of prefill and of decode.

    Attributes:
        new: instances of the new revision, as it is to be.
        old: instances of the old revisions, as they are to be.
        available: instances that serve while the step goes on: with no role missing in their revision.
        present: most instances that are there while the step goes on.
    """

    new: Pair
    old: Pair
    available: Pair
    present: Pair


def planned_steps(goal: Goal, observed: Mapping[str, Revision], gates: Gates = OPEN) -> Iterator[PlannedStep]:
    """Yield the steps from what is observed to the goal, or to where nothing goes on.

    Args:
        goal: what the specification asks for.
        observed: what is there, by revision.
        gates: what holds the rollout up.
    """
    while True:
        now = step(goal, observed, gates)
        after = played(goal, observed, now)
        if now.complete or after == observed:
            return
        old = [name for name in observed if name != goal.revision]
        new, had = after.get(goal.revision, {}), observed.get(goal.revision, {})
        before, left = [observed[name] for name in old], [after.get(name, {}) for name in old]
        counts = _asked(new), total(map(_asked, left))
        if counts != (_asked(had), total(map(_asked, before))):
            yield PlannedStep(
                *counts,
                available=total(map(_usable, [had, *left])),
                present=total(map(_asked, [new, *before])),
            )
        observed = after


def played(goal: Goal, observed: Mapping[str, Revision], now: Step) -> dict[str, Revision]:
    """Return what is there once a step was applied, every pod is ready, and none is ending.

    Args:
        goal: what the specification asks for.
        observed: what was there.
        now: the step.
    """
    after = {name: ready(counts) for name, counts in now.kept.items()}
    if now.run:
        after[goal.revision] = ready(now.replicas)
    elif goal.revision in observed:
        after[goal.revision] = observed[goal.revision]
    return after


def ready(counts: Counts) -> Revision:
    """Return a revision of which so many instances are there and ready."""
    return {role: RoleObservation(counts[role], counts[role], counts[role]) for role in ROLES}


def _asked(revision: Revision) -> Pair:
    prefill, decode = (revision[role].asked if role in revision else 0 for role in ROLES)
    return prefill, decode


def _usable(revision: Revision) -> Pair:
    prefill, decode = (revision[role].settled if role in revision else 0 for role in ROLES)
    return (prefill, decode) if prefill and decode else (0, 0)
