"""The rollout stepper: how many instances of which revisions to have now, from what is observed alone.

Prefill and decode of one revision belong together: they come and go together, and one revision's prefill
never serves another's decode. Replica counts are no part of a revision.

Invariants: no memory and no clock, so that an operator that dies at any point goes on where it was. Under
Surge, old instances go as new ones have become ready and known to the frontends (`moves`), and none while
frontends are left that may know only older revisions. The last ones go once no frontend is left that sends
them requests. An old revision that serves, or served last, is kept until the desired one is complete, be it
without instances: it is taken up again where it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from disagg_operator.api.v1alpha1.operations import RolloutStrategy
from disagg_operator.plan.model import ROLES, Limits
from disagg_operator.plan.rollout import moves
from disagg_operator.plan.rollout.moves import Fleet, Pair, Rules


@dataclass(frozen=True)
class RoleObservation:
    """The StatefulSets of one role in one revision. A replica is a model instance.

    Attributes:
        asked: replicas that they are to have.
        ready: replicas that are ready.
        settled: replicas that have been ready for so long that every frontend knows them.
        lingering: replicas beyond those asked for, which are ending.
        terminating: whether all of it is being deleted and still has pods.
    """

    asked: int
    ready: int
    settled: int
    lingering: int = 0
    terminating: bool = False


Revision = Mapping[str, RoleObservation]
"""What is there of one revision, by role. A role without a StatefulSet is absent."""

Counts = Mapping[str, int]
"""Model instances by role."""


@dataclass(frozen=True)
class Goal:
    """What a rollout is to come to, and how.

    Attributes:
        strategy: how the new revision takes over.
        revision: the desired revision.
        replicas: wanted instances by role.
        limits: how far a rollout may go at once, by role.
    """

    strategy: RolloutStrategy
    revision: str
    replicas: Counts
    limits: Mapping[str, Limits] = field(
        default_factory=lambda: dict.fromkeys(ROLES, Limits(surge=1, unavailable=0))
    )


@dataclass(frozen=True)
class Gates:
    """What holds a rollout up.

    Attributes:
        held: workers of the desired revision cannot be started yet: until they can, all that runs stays.
        paused: the user stopped the rollout: it goes no further, and not back.
        changed_over: whether every frontend is of the current specification, and knows the desired revision.
        alone: whether every frontend sends requests to the desired revision alone.
        proven: whether the desired revision may take over as far as its transport is concerned. Until then it
            gets its first instances, by which it can be verified, and no more.
    """

    held: bool = False
    paused: bool = False
    changed_over: bool = True
    alone: bool = True
    proven: bool = True


OPEN = Gates()


@dataclass(frozen=True)
class Step:
    """What to have now.

    Attributes:
        run: whether the desired revision's objects are applied now.
        replicas: instances that it is to have.
        kept: old revisions that stay, with the instances that each is to have.
        removed: old revisions that go, or are going: their StatefulSets are to be deleted.
        serving: the revision that answers requests, the old one as long as it can, or None.
        complete: whether the desired revision is ready and alone.
        sole: the one revision that frontends are to send requests to; None for all that serve.
    """

    run: bool
    replicas: Counts
    kept: Mapping[str, Counts]
    removed: frozenset[str]
    serving: str | None
    complete: bool
    sole: str | None = None

    @property
    def others(self) -> frozenset[str]:
        """Old revisions of which something is there."""
        return self.removed | self.kept.keys()


def step(goal: Goal, observed: Mapping[str, Revision], gates: Gates = OPEN) -> Step:
    """Return what to have now.

    Args:
        goal: what the specification asks for.
        observed: what is there, by revision.
        gates: what holds the rollout up.
    """
    old = {name: revision for name, revision in observed.items() if name != goal.revision and revision}
    new = observed.get(goal.revision, {})
    # What it comes to once the frontends are where they are to be says where that is.
    aim = _decided(goal, new, old, replace(gates, changed_over=True))
    sole = _sole(goal, new, old, aim.kept, gates)
    now = aim if gates.changed_over else _decided(goal, new, old, gates)
    kept = now.kept
    surges = goal.strategy is RolloutStrategy.SURGE
    if surges and sole == goal.revision and _can_serve(new) and not gates.alone:
        # Frontends give up what they have just sent to the last workers of a revision, when these leave.
        kept = {**kept, **{name: _by_role(_asked(old[name])) for name in old if _serves(old[name])}}
    return Step(
        run=now.run,
        replicas=now.replicas,
        kept=kept,
        removed=frozenset(old) - kept.keys(),
        serving=_serving(goal.revision, new, {name: old[name] for name in kept}),
        complete=_is_ready(goal, new) and not old,
        sole=sole,
    )


@dataclass(frozen=True)
class _Decision:
    run: bool
    replicas: Counts
    kept: dict[str, Counts]


def _decided(goal: Goal, new: Revision, old: Mapping[str, Revision], gates: Gates) -> _Decision:
    """Return what to have as far as workers are concerned."""
    if gates.held or (gates.paused and old):
        kept = {name: _by_role(_asked(revision)) for name, revision in old.items()}
        return _Decision(bool(new), _by_role(_asked(new)), kept)
    if goal.strategy is RolloutStrategy.RECREATE:
        return _Decision(not old, goal.replicas, {})
    settled = all(_settled(new.get(role)) >= goal.replicas[role] for role in ROLES)
    if not old or (_is_ready(goal, new) and settled and gates.changed_over and gates.proven):
        return _Decision(True, goal.replicas, {})
    return _Decision(True, *_side_by_side(goal, new, old, gates))


def _sole(
    goal: Goal, new: Revision, old: Mapping[str, Revision], aim: Mapping[str, Counts], gates: Gates
) -> str | None:
    """Return the one revision that frontends are to send requests to, or None for all that serve.

    They learn of a new revision once it can serve: one that starts beside them makes them refuse requests for
    a moment. And the last workers of an old one go once no frontend sends them any.
    """
    there = [name for name in old if _stays(old[name]) and _asked(old[name]) != moves.NONE]
    staying = [name for name in there if any(aim.get(name, {}).values())]
    if _can_serve(new) or not staying:
        reached = [*staying, goal.revision]
    elif not gates.changed_over:
        reached = staying
    else:
        reached = [*there, goal.revision]
    return reached[0] if len(reached) == 1 else None


def _can_serve(revision: Revision) -> bool:
    """Tell whether a revision has an instance of each role that every frontend knows, if it is to."""
    return _fleet(revision).usable != moves.NONE


def _serves(revision: Revision) -> bool:
    return _stays(revision) and _worth(revision)[0] > 0


def _is_ready(goal: Goal, new: Revision) -> bool:
    return all(_is_complete(new.get(role), goal.replicas[role]) for role in ROLES)


def best_of(observed: Mapping[str, Revision], desired: str) -> str | None:
    """Return the old revision that serves best, or served last; None where there is none to go back to.

    Args:
        observed: what is there, by revision.
        desired: the revision that is not an old one.
    """
    old = [name for name, revision in observed.items() if name != desired and revision and _stays(revision)]
    return max(old, key=lambda name: (_worth(observed[name]), name), default=None)


def _side_by_side(
    goal: Goal, new: Revision, old: Mapping[str, Revision], gates: Gates
) -> tuple[Counts, dict[str, Counts]]:
    """Return the instances of the new revision, and of the old ones that stay."""
    rules = Rules(_pair(goal.replicas), (goal.limits[ROLES[0]], goal.limits[ROLES[1]]))
    # The least worthy first: it gives its place up first.
    names = sorted(filter(lambda name: _stays(old[name]), old), key=lambda name: (_worth(old[name]), name))
    gone = moves.total(_present(revision) for name, revision in old.items() if name not in names)
    fleet = _fleet(new)
    fleet = replace(
        fleet, asked=_least(fleet.asked, rules.wanted), lingering=moves.total([fleet.lingering, gone])
    )
    replicas, left = _moved(rules, fleet, [_fleet(old[name]) for name in names], gates)
    return _by_role(replicas), {name: _by_role(asked) for name, asked in zip(names, left, strict=True)}


Moved = tuple[Pair, list[Pair]]
"""Instances of the new revision, and of each old one."""


def _moved(rules: Rules, new: Fleet, old: list[Fleet], gates: Gates) -> Moved:
    """Return the instances after all moves that the rules allow."""
    now = new.asked, [each.asked for each in old]
    if not gates.proven:
        # As much room is made as the first instances need.
        limits = [replace(limit, unavailable=min(limit.unavailable, 1)) for limit in rules.limits]
        rules = replace(rules, limits=(limits[0], limits[1]))
    may_shrink = gates.proven or 0 in new.asked
    at_rest = new.asked == new.settled and all(each.lingering == moves.NONE for each in (new, *old))
    if not gates.changed_over and new.usable != moves.NONE:
        # Instances that a frontend may not know replace none of those that it knows.
        new, at_rest = replace(new, settled=moves.NONE), False
    moved = _tried(rules, new, old, gates, may_shrink=may_shrink)
    for skew in (1, 2, None):
        if moved == now and at_rest and may_shrink:
            moved = _tried(replace(rules, strict=False, skew=skew), new, old, gates, may_shrink=True)
    return moved


def _tried(rules: Rules, new: Fleet, old: list[Fleet], gates: Gates, *, may_shrink: bool) -> Moved:
    left = [each.asked for each in old]
    if not rules.side_by_side and 0 in new.asked and any(asked != moves.NONE for asked in left):
        # There is no room for two revisions that serve: the old one goes first.
        return new.asked, [moves.NONE for _ in old] if may_shrink else left
    most = rules.wanted if gates.proven else _least(rules.wanted, (1, 1))
    asked = moves.grown(rules, new, old, most)
    return asked, moves.shrunk(rules, replace(new, asked=asked), old) if may_shrink else left


def _is_complete(role: RoleObservation | None, replicas: int) -> bool:
    if role is None:
        # Pod groups of several nodes have no object at all where there is no instance.
        return replicas == 0
    return not role.terminating and role.asked == replicas and role.ready >= replicas


def _stays(revision: Revision) -> bool:
    """Tell whether an old revision is worth keeping: a pod is ready, or it has none on purpose.

    One that has instances of one role alone, as the other was scaled to nothing, serves nobody.
    """
    if any(role.terminating for role in revision.values()) or _is_half(revision):
        return False
    return _worth(revision)[1] > 0 or _asked(revision) == moves.NONE


def _is_half(revision: Revision) -> bool:
    asked = _asked(revision)
    return 0 in asked and asked != moves.NONE


def _worth(revision: Revision) -> tuple[int, int]:
    """Return the ready replicas of the weaker role, then those of both."""
    ready = [_ready(revision.get(role)) for role in ROLES]
    return min(ready), sum(ready)


def _fleet(revision: Revision) -> Fleet:
    lingering = {role: found.lingering for role, found in revision.items()}
    settled = {role: _settled(found) for role, found in revision.items()}
    return Fleet(_asked(revision), _pair(settled), _pair(lingering))


def _asked(revision: Revision) -> Pair:
    return _pair({role: found.asked for role, found in revision.items() if not found.terminating})


def _present(revision: Revision) -> Pair:
    return _pair({role: max(found.asked, found.lingering) for role, found in revision.items()})


def _settled(role: RoleObservation | None) -> int:
    return 0 if role is None or role.terminating else role.settled


def _ready(role: RoleObservation | None) -> int:
    return 0 if role is None or role.terminating else role.ready


def _pair(counts: Counts) -> Pair:
    return counts.get(ROLES[0], 0), counts.get(ROLES[1], 0)


def _by_role(pair: Pair) -> Counts:
    return dict(zip(ROLES, pair, strict=True))


def _least(one: Pair, other: Pair) -> Pair:
    return min(one[0], other[0]), min(one[1], other[1])


def _serving(desired: str, new: Revision, kept: Mapping[str, Revision]) -> str | None:
    best = sorted(kept, key=lambda name: (_worth(kept[name]), name), reverse=True)
    for name, revision in (*((name, kept[name]) for name in best), (desired, new)):
        if _worth(revision)[0] > 0:
            return name
    return None
