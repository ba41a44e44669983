"""Rollouts from thousands of starts, with pods that become ready in any order, fail, and end in any order.

The world below stands for the cluster: it holds nothing but StatefulSets' counts, as the stepper observes
them. The operator has no memory here, so that each step may as well be another operator's first.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from disagg_operator.api.v1alpha1.operations import RolloutStrategy
from disagg_operator.plan.model import ROLES, Limits
from disagg_operator.plan.rollout.stepper import Gates, Goal, Revision, RoleObservation, Step, step

SURGE = RolloutStrategy.SURGE
NEW, OLD = "new", "old"
Pair = list[int]


@dataclass
class Fleet:
    """SIMULATED instances of one revision: asked, ready and ending ones of prefill and decode."""

    asked: Pair = field(default_factory=lambda: [0, 0])
    ready: Pair = field(default_factory=lambda: [0, 0])
    ending: Pair = field(default_factory=lambda: [0, 0])

    def scale(self, counts: Mapping[str, int]) -> None:
        for place, role in enumerate(ROLES):
            gone = max(0, self.asked[place] - counts[role])
            self.asked[place] = counts[role]
            # The worst case: ready ones go first.
            self.ready[place] = max(0, self.ready[place] - gone)
            self.ending[place] += gone

    @property
    def serving(self) -> Pair:
        return list(self.ready) if all(self.ready) else [0, 0]

    def observed(self) -> Revision:
        return {
            role: RoleObservation(
                self.asked[place], self.ready[place], self.ready[place], lingering=self.ending[place]
            )
            for place, role in enumerate(ROLES)
        }


def skew(pair: Pair, wanted: Pair) -> int:
    """Return how far a pair is from the wanted ratio; `max(wanted)` is one instance."""
    return abs(pair[0] * wanted[1] - pair[1] * wanted[0])


class World:
    """SIMULATED cluster in which a rollout runs, and the rules that it is held to after each step."""

    def __init__(self, wanted: Pair, limits: list[Limits], old: Fleet) -> None:
        self.fleets = {OLD: old}
        self.wanted, self.limits = wanted, limits
        by_role = dict(zip(ROLES, limits, strict=True))
        self.goal = Goal(SURGE, NEW, dict(zip(ROLES, wanted, strict=True)), by_role)

    def step(self, gates: Gates = Gates()) -> Step:  # noqa: B008 - immutable
        """Let an operator that knows nothing do one reconcile, and return what it decided."""
        now = step(self.goal, {name: fleet.observed() for name, fleet in self.fleets.items()}, gates)
        before = {name: sum(fleet.asked) for name, fleet in self.fleets.items()}
        if now.run:
            self.fleets.setdefault(NEW, Fleet()).scale(now.replicas)
        for name in list(self.fleets):
            if name in now.kept:
                self.fleets[name].scale(now.kept[name])
            elif name in now.removed:
                self.fleets[name].scale(dict.fromkeys(ROLES, 0))
                if not any(self.fleets[name].ending):
                    del self.fleets[name]
        assert all(
            sum(self.fleets[name].asked) <= count
            for name, count in before.items()
            if name in self.fleets and name != NEW
        ), "an old revision never grows"
        return now

    def total(self, what: str) -> Pair:
        return [sum(getattr(fleet, what)[place] for fleet in self.fleets.values()) for place in (0, 1)]

    @property
    def side_by_side(self) -> bool:
        rooms = [each + limit.surge for each, limit in zip(self.wanted, self.limits, strict=True)]
        return min(rooms) > 1

    def at_rest(self) -> bool:
        return all(fleet.ready == fleet.asked and not any(fleet.ending) for fleet in self.fleets.values())


counts = st.integers(1, 6)
orders = st.integers(0, 2**32 - 1).map(Random)
"""In which order pods move. One number for a whole rollout: drawing each move takes minutes."""
limit = st.builds(
    Limits, surge=st.sampled_from([0, 0, 1, 2, 6]), unavailable=st.sampled_from([0, 0, 1, 2, 6])
)
able = limit.filter(lambda each: each.surge + each.unavailable > 0)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Return the start of a rollout: the old revision has what is wanted, or something else."""
    wanted = [draw(counts), draw(counts)]
    limits = [draw(able), draw(able)]
    there = list(wanted) if draw(st.booleans()) else [draw(counts), draw(counts)]
    return World(wanted, limits, Fleet(asked=there, ready=list(there)))


@given(worlds(), orders)
@settings(max_examples=3000)
def test_a_rollout_ends_and_keeps_to_its_limits_at_each_step(world: World, chance: Random) -> None:
    before = world.total("asked")
    start = [skew(before, world.wanted)]
    for _ in range(60 * max(world.wanted)):
        done = world.step().complete
        _check(world, before, start)
        if done:
            break
        _pods_move(world, chance)
    else:
        raise AssertionError("the rollout did not end")
    assert world.fleets.keys() == {NEW}
    assert world.fleets[NEW].ready == world.wanted


def _pods_move(world: World, chance: Random) -> None:
    """Let at least one pod become ready or end, if any is to."""
    moves = [
        (fleet, what, place)
        for fleet in world.fleets.values()
        for place in (0, 1)
        for what, count in (
            ("ready", fleet.asked[place] - fleet.ready[place]),
            ("ending", fleet.ending[place]),
        )
        for _ in range(count)
    ]
    for fleet, what, place in chance.sample(moves, chance.randint(1, len(moves))) if moves else ():
        getattr(fleet, what)[place] += 1 if what == "ready" else -1


def _check(world: World, before: Pair, start: Pair) -> None:
    present = [one + other for one, other in zip(world.total("asked"), world.total("ending"), strict=True)]
    for place, (wanted, limits) in enumerate(zip(world.wanted, world.limits, strict=True)):
        assert present[place] <= max(wanted + limits.surge, before[place]), (
            "more instances than there is room for"
        )
        if world.side_by_side:
            least = min(wanted - limits.unavailable, before[place])
            assert world.total("serving")[place] >= least, "fewer instances serve than has to be available"
    if not world.side_by_side:
        return
    for fleet in world.fleets.values():
        assert all(fleet.asked) or not any(fleet.asked), "a revision with one role serves nothing"
    if start == [0] and min(world.wanted) > 1 and _alike(world.limits):
        for pair in (world.total("asked"), *(fleet.asked for fleet in world.fleets.values())):
            assert skew(pair, world.wanted) <= max(world.wanted), "the ratio is off by more than one instance"


def _alike(limits: list[Limits]) -> bool:
    """Tell whether both roles may surge, or neither: else they pull different ways."""
    return (limits[0].surge > 0) == (limits[1].surge > 0)


@given(worlds(), orders)
@settings(max_examples=1000)
def test_pods_that_fail_hold_a_rollout_up_but_take_nothing_with_them(world: World, chance: Random) -> None:
    """The new revision never becomes ready, or in parts: what has to be available stays so."""
    before = world.total("asked")
    for _ in range(40):
        world.step()
        _check(world, before, [1])
        for fleet in world.fleets.values():
            fleet.ending = [0, 0]
        new = world.fleets.get(NEW)
        if new is not None and chance.random() < 0.5:
            place = chance.randint(0, 1)
            new.ready[place] = min(new.ready[place] + 1, max(0, new.asked[place] - 1))
    assert OLD in world.fleets, "an old revision is there to go back to"


@given(worlds(), orders)
@settings(max_examples=1000)
def test_a_rollout_that_turns_back_halfway_ends_where_it_began(world: World, chance: Random) -> None:
    """As by editing back, and as when a revision fails: the old revision is the goal of the same stepper."""
    for _ in range(chance.randint(0, 6)):
        if world.step().complete:
            return
        _pods_move(world, chance)
    back = World(world.wanted, world.limits, world.fleets.get(NEW, Fleet()))
    back.fleets = {NEW: world.fleets.pop(OLD, Fleet())}
    back.fleets.update((OLD, fleet) for fleet in world.fleets.values())
    before = [max(pair) for pair in zip(back.total("asked"), world.wanted, strict=True)]
    for _ in range(60 * max(back.wanted)):
        if back.step().complete:
            return
        present = back.total("asked")
        for place, limits in enumerate(back.limits):
            assert present[place] <= max(back.wanted[place] + limits.surge, before[place])
        _pods_move(back, chance)
    raise AssertionError("the way back did not end")


@given(worlds(), orders)
@settings(max_examples=500)
def test_gates_stop_what_they_are_there_for(world: World, chance: Random) -> None:
    for _ in range(chance.randint(0, 5)):
        if world.step().complete:
            return
        _pods_move(world, chance)
    asked = {name: list(fleet.asked) for name, fleet in world.fleets.items()}
    world.step(chance.choice([Gates(paused=True), Gates(held=True)]))
    assert {name: fleet.asked for name, fleet in world.fleets.items()} == asked
    old = list(world.fleets[OLD].serving) if OLD in world.fleets else [0, 0]
    world.step(Gates(changed_over=False, alone=False))
    if not world.side_by_side:
        return
    for place, (wanted, limits) in enumerate(zip(world.wanted, world.limits, strict=True)):
        serving = world.fleets[OLD].serving[place] if OLD in world.fleets else 0
        assert serving >= min(old[place], wanted - limits.unavailable), "frontends may know no other revision"


@given(worlds(), orders)
@settings(max_examples=1000)
def test_what_frontends_may_send_requests_to_stays_while_frontends_change_late(
    world: World, chance: Random
) -> None:
    """SIMULATED frontends: those of two templates while they change over, which may last for many steps.

    Where there is room for two revisions that serve, and something has to be available, some revision that
    every frontend knows serves at all times, and one that serves does not end while a frontend knows it.
    """
    templates: list[str | None] = [OLD]
    for _ in range(120 * max(world.wanted)):
        known = templates[0] if len(templates) == 1 else ""
        serving = {name for name, fleet in world.fleets.items() if any(fleet.serving)}
        done = world.step(Gates(changed_over=known in (NEW, None), alone=known == NEW))
        if done.sole != templates[-1]:
            templates = [*templates[-1:], done.sole]
        elif len(templates) > 1 and chance.random() < 0.3:
            templates = templates[-1:]
        held = world.side_by_side and all(
            each > limits.unavailable for each, limits in zip(world.wanted, world.limits, strict=True)
        )
        if held and OLD in serving:
            fleet = world.fleets.get(OLD)
            still = fleet is not None and any(fleet.serving)
            assert still or known == NEW, "it ends, and frontends still send it requests"
        if done.complete and len(templates) == 1:
            assert templates == [NEW]
            return
        _pods_move(world, chance)
    raise AssertionError("the rollout did not end")
