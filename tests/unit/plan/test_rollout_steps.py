"""The rollout stepper, step by step."""

import pytest

from disagg_operator.api.v1alpha1.operations import RolloutStrategy
from disagg_operator.plan.model import Limits
from disagg_operator.plan.rollout.stepper import (
    OPEN,
    Counts,
    Gates,
    Goal,
    Revision,
    RoleObservation,
    Step,
    best_of,
    step,
)

SURGE, RECREATE = RolloutStrategy.SURGE, RolloutStrategy.RECREATE


def revision(
    prefill: tuple[int, int] | None,
    decode: tuple[int, int] | None,
    terminating: bool = False,
    settled: bool = True,
) -> Revision:
    """Return a revision from ready and asked replicas of its roles."""
    given = {"prefill": prefill, "decode": decode}
    return {
        role: RoleObservation(
            asked=counts[1], ready=counts[0], settled=counts[0] if settled else 0, terminating=terminating
        )
        for role, counts in given.items()
        if counts is not None
    }


READY = revision((2, 2), (1, 1))
FIRST = revision((1, 1), (1, 1))
STARTING = revision((0, 2), (0, 1))
HALF = revision((2, 2), (0, 1))
UNKNOWN_YET = revision((2, 2), (1, 1), settled=False)
ENDING = revision((2, 2), (1, 1), terminating=True)
PARKED = revision((0, 0), (0, 0))
REPLICAS = {"prefill": 2, "decode": 1}
NONE = {"prefill": 0, "decode": 0}


def goal(strategy: RolloutStrategy = SURGE, surge: int = 2, unavailable: int = 0) -> Goal:
    limits = dict.fromkeys(REPLICAS, Limits(surge, unavailable))
    return Goal(strategy, "C", REPLICAS, limits)


def run(
    new: Counts = REPLICAS,
    *,
    kept: dict[str, Counts] | None = None,
    removed: str = "",
    serving: str | None = None,
    complete: bool = False,
    started: bool = True,
    sole: str | None = "",
) -> Step:
    """Return a step. With old instances that stay, frontends send requests to all that serve, if not told."""
    if sole == "":
        sole = None if any(count for counts in (kept or {}).values() for count in counts.values()) else "C"
    return Step(started, new, kept or {}, frozenset(removed), serving, complete, sole)


def pair(prefill: int, decode: int) -> Counts:
    return {"prefill": prefill, "decode": decode}


@pytest.mark.parametrize(
    ("observed", "expected"),
    [
        pytest.param({}, run(), id="first: nothing there"),
        pytest.param({"C": STARTING}, run(), id="first: starting"),
        pytest.param({"C": HALF}, run(), id="first: one role ready serves nothing"),
        pytest.param({"C": READY}, run(serving="C", complete=True), id="first: ready"),
        pytest.param({"B": READY}, run(kept={"B": REPLICAS}, serving="B"), id="begins beside the old"),
        pytest.param({"B": READY, "C": STARTING}, run(kept={"B": REPLICAS}, serving="B"), id="starting"),
        pytest.param({"B": READY, "C": HALF}, run(kept={"B": REPLICAS}, serving="B"), id="one role ready"),
        pytest.param(
            {"B": READY, "C": revision((1, 2), (1, 1))},
            run(kept={"B": pair(1, 1)}, serving="B"),
            id="as many old ones go as new ones are ready",
        ),
        pytest.param(
            {"B": READY, "C": UNKNOWN_YET}, run(kept={"B": REPLICAS}, serving="B"), id="ready, not yet known"
        ),
        pytest.param({"C": UNKNOWN_YET}, run(serving="C", complete=True), id="alone: nothing to wait for"),
        pytest.param({"B": READY, "C": READY}, run(removed="B", serving="C"), id="switch"),
        pytest.param({"B": PARKED, "C": READY}, run(removed="B", serving="C"), id="the empty old one goes"),
        pytest.param({"B": PARKED, "C": STARTING}, run(kept={"B": NONE}), id="the empty old one is kept"),
        pytest.param({"B": ENDING, "C": READY}, run(removed="B", serving="C"), id="old ends"),
        pytest.param(
            {"A": READY, "B": HALF, "C": STARTING},
            run(kept={"A": REPLICAS, "B": NONE}, serving="A"),
            id="three: the one in the middle never served and gives its place up",
        ),
        pytest.param(
            {"A": READY, "B": STARTING},
            run(new=NONE, kept={"A": REPLICAS}, removed="B", serving="A"),
            id="three: the one in the middle without a ready pod goes, and makes room",
        ),
        pytest.param({"B": STARTING}, run(new=pair(2, 1), removed="B"), id="nothing is ready: goes at once"),
        pytest.param({"B": HALF}, run(kept={"B": REPLICAS}), id="an old one that lost a role may come back"),
        pytest.param({"B": STARTING, "C": READY}, run(removed="B", serving="C"), id="back: complete at once"),
        pytest.param({"C": FIRST}, run(serving="C"), id="scaling up: serves, but is not complete"),
        pytest.param({"C": ENDING}, run(), id="back to one that is ending: must start anew"),
    ],
)
def test_step_of_a_surge(observed: dict[str, Revision], expected: Step) -> None:
    assert step(goal(), observed) == expected


@pytest.mark.parametrize(
    ("observed", "expected"),
    [
        pytest.param({}, run(), id="nothing there"),
        pytest.param({"B": READY}, run(removed="B", started=False), id="old goes first"),
        pytest.param({"B": ENDING}, run(removed="B", started=False), id="waits for the last pod"),
        pytest.param({"A": READY, "B": HALF}, run(removed="AB", started=False), id="all old ones go"),
        pytest.param({"C": STARTING}, run(), id="starting"),
        pytest.param({"C": READY}, run(serving="C", complete=True), id="ready"),
    ],
)
def test_step_of_recreate(observed: dict[str, Revision], expected: Step) -> None:
    assert step(goal(RECREATE), observed) == expected


def test_a_role_without_replicas_is_ready_but_serves_nothing() -> None:
    idle = Goal(SURGE, "C", pair(0, 1))
    assert step(idle, {"C": revision((0, 0), (1, 1))}) == run(new=pair(0, 1), complete=True)
    assert step(idle, {"B": READY}).kept == {"B": NONE}, "nothing is to serve"


def test_an_old_revision_stays_for_the_frontends_that_may_know_no_other() -> None:
    observed = {"B": READY, "C": READY}
    waiting = step(goal(), observed, Gates(changed_over=False, alone=False))
    assert waiting == run(kept={"B": REPLICAS}, serving="B", sole="C")
    assert step(goal(), observed) == run(removed="B", serving="C")


NEITHER = Gates(changed_over=False, alone=False)
KNOWN = Gates(alone=False)


@pytest.mark.parametrize(
    ("observed", "gates", "sole"),
    [
        pytest.param({"B": READY}, NEITHER, "B", id="the new one does not serve yet: nobody learns of it"),
        pytest.param({"B": READY, "C": HALF}, NEITHER, "B", id="with one role it does not serve"),
        pytest.param({"B": READY, "C": FIRST}, NEITHER, None, id="both serve"),
        pytest.param({"B": READY, "C": HALF}, KNOWN, None, id="nobody forgets one that lost a worker"),
        pytest.param({"B": FIRST, "C": READY}, KNOWN, "C", id="the last old ones get no more requests"),
        pytest.param({"B": READY, "C": READY}, NEITHER, "C", id="from one to the other at once"),
        pytest.param({"A": FIRST, "B": FIRST, "C": STARTING}, NEITHER, None, id="two old ones serve"),
        pytest.param({"B": PARKED, "C": STARTING}, KNOWN, "C", id="the old one has no instance"),
    ],
)
def test_frontends_send_requests_to_revisions_that_serve_and_stay(
    observed: dict[str, Revision], gates: Gates, sole: str | None
) -> None:
    assert step(goal(), observed, gates).sole == sole


def test_the_last_old_instances_go_once_no_frontend_sends_them_requests() -> None:
    observed = {"B": FIRST, "C": READY}
    assert step(goal(), observed, KNOWN) == run(kept={"B": pair(1, 1)}, serving="B", sole="C")
    assert step(goal(), observed) == run(removed="B", serving="C")
    assert step(goal(), {"B": HALF, "C": READY}, KNOWN).removed == {"B"}, "it serves nobody"


def test_without_room_for_two_revisions_frontends_hold_up_neither() -> None:
    one = Goal(SURGE, "C", pair(1, 1), dict.fromkeys(REPLICAS, Limits(0, 1)))
    for observed in ({"B": FIRST}, {"B": PARKED}):
        now = step(one, observed, NEITHER)
        assert (now.kept, now.sole) == ({"B": NONE}, "C")


def test_instances_that_frontends_may_not_know_replace_none_that_they_know() -> None:
    observed = {"B": revision((4, 4), (4, 4)), "C": revision((1, 1), (1, 1))}
    wanted = Goal(SURGE, "C", pair(5, 5), dict.fromkeys(REPLICAS, Limits(0, 1)))
    assert step(wanted, observed, NEITHER).kept == {"B": pair(4, 4)}
    assert step(wanted, observed, KNOWN).kept == {"B": pair(3, 3)}
    full = {"B": revision((5, 5), (5, 5))}
    assert step(wanted, full, NEITHER).kept == {"B": pair(4, 4)}, "the first one needs a place"


def test_recreate_waits_for_no_frontend() -> None:
    assert step(goal(RECREATE), {"B": READY}, NEITHER) == run(removed="B", started=False)


def test_frontends_hold_up_nothing_but_the_end_of_an_old_revision() -> None:
    gates = Gates(changed_over=False)
    assert step(goal(), {"C": READY}, gates) == run(serving="C", complete=True)
    assert step(goal(RECREATE), {"B": READY}, gates) == run(removed="B", started=False)
    assert step(goal(), {"B": READY}, gates).replicas == REPLICAS


def test_what_cannot_be_started_yet_leaves_all_as_it_is() -> None:
    held = Gates(held=True)
    waiting = step(goal(), {"B": READY}, held)
    assert waiting == run(new=NONE, kept={"B": REPLICAS}, serving="B", started=False)
    partly = step(goal(), {"B": READY, "C": FIRST}, held)
    assert partly == run(new=pair(1, 1), kept={"B": REPLICAS}, serving="B")


def test_a_paused_rollout_goes_neither_on_nor_back() -> None:
    paused = Gates(paused=True)
    assert not step(goal(), {"B": READY}, paused).run, "nothing is begun"
    halfway = {"B": revision((1, 1), (1, 1)), "C": FIRST}
    assert step(goal(), halfway, paused) == run(new=pair(1, 1), kept={"B": pair(1, 1)}, serving="B")
    assert step(goal(RECREATE), {"B": READY}, paused).kept == {"B": REPLICAS}
    assert step(goal(), {"C": FIRST}, paused).replicas == REPLICAS, "scaling is no rollout"


def test_an_unproven_revision_gets_its_first_instances_and_takes_nothing_over() -> None:
    unproven = Gates(proven=False)
    assert step(goal(), {"B": READY}, unproven) == run(new=pair(1, 1), kept={"B": REPLICAS}, serving="B")
    assert step(goal(), {"B": READY, "C": FIRST}, unproven).kept == {"B": REPLICAS}
    assert step(goal(), {"B": READY, "C": FIRST}).kept == {"B": pair(1, 1)}


def test_an_unproven_revision_on_a_full_cluster_gets_no_more_room_than_its_first_instances_need() -> None:
    large = {"prefill": 8, "decode": 4}
    full = Goal(SURGE, "C", large, dict.fromkeys(large, Limits(0, 4)))
    (old,) = step(full, {"B": revision((8, 8), (4, 4))}, Gates(proven=False)).kept.values()
    assert old == pair(7, 3)


def test_one_instance_on_a_full_cluster_is_taken_down_and_stays_ready_to_be_restored() -> None:
    full = goal(surge=0, unavailable=1)
    assert step(full, {"B": READY}) == run(new=NONE, kept={"B": NONE}, serving="B")
    going = {"B": {role: RoleObservation(0, 0, 0, lingering=1) for role in REPLICAS}}
    assert step(full, going).replicas == pair(1, 0), "there is no room before the last pods are gone"
    assert step(full, {"B": PARKED}) == run(kept={"B": NONE})
    assert step(full, {"B": PARKED, "C": READY}) == run(removed="B", serving="C")


def test_old_instances_that_never_become_ready_hold_nothing_up() -> None:
    limping = {"prefill": 4, "decode": 2}
    four = Goal(SURGE, "C", limping, dict.fromkeys(limping, Limits(1, 0)))
    new = revision((1, 1), (1, 1))
    assert step(four, {"B": revision((3, 4), (1, 1)), "C": new}).kept == {"B": pair(3, 1)}
    waiting = {**new, "prefill": RoleObservation(2, 1, 1)}
    assert step(four, {"B": revision((2, 4), (2, 2)), "C": waiting}).kept == {"B": pair(4, 1)}, (
        "as long as a new one is on its way, an old one may come back"
    )


def test_the_best_old_revision_is_the_one_to_go_back_to() -> None:
    assert best_of({"A": HALF, "B": READY, "C": READY}, "C") == "B"
    assert best_of({"A": PARKED, "B": STARTING, "C": READY}, "C") == "A", "B has nothing that is ready"
    assert best_of({"B": ENDING, "C": READY}, "C") is None


def test_gates_are_open_unless_something_holds_up() -> None:
    assert Gates(held=False, paused=False, changed_over=True, alone=True, proven=True) == OPEN
