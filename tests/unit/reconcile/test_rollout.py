"""The rollout stepper, step by step."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from disagg_operator.api.v1alpha1.operations import RolloutStrategy
from disagg_operator.plan.rollout import Revision, RoleObservation, Step, step

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
STARTING = revision((0, 2), (0, 1))
HALF = revision((2, 2), (0, 1))
UNKNOWN_YET = revision((2, 2), (1, 1), settled=False)
ENDING = revision((2, 2), (1, 1), terminating=True)
REPLICAS = {"prefill": 2, "decode": 1}


def run(kept: str = "", removed: str = "", serving: str | None = None, complete: bool = False) -> Step:
    return Step(True, frozenset(kept), frozenset(removed), serving, complete)


def wait(removed: str, serving: str | None = None) -> Step:
    return Step(False, frozenset(), frozenset(removed), serving, False)


@pytest.mark.parametrize(
    ("strategy", "observed", "expected"),
    [
        pytest.param(SURGE, {}, run(), id="first: nothing there"),
        pytest.param(SURGE, {"C": STARTING}, run(), id="first: starting"),
        pytest.param(SURGE, {"C": HALF}, run(), id="first: one role ready serves nothing"),
        pytest.param(SURGE, {"C": READY}, run(serving="C", complete=True), id="first: ready"),
        pytest.param(SURGE, {"B": READY}, run("B", serving="B"), id="surge: begins beside the old"),
        pytest.param(SURGE, {"B": READY, "C": STARTING}, run("B", serving="B"), id="surge: starting"),
        pytest.param(SURGE, {"B": READY, "C": HALF}, run("B", serving="B"), id="surge: one role ready"),
        pytest.param(
            SURGE,
            {"B": READY, "C": revision((1, 2), (1, 1))},
            run("B", serving="B"),
            id="surge: not all replicas ready",
        ),
        pytest.param(
            SURGE, {"B": READY, "C": UNKNOWN_YET}, run("B", serving="B"), id="surge: ready, but not yet known"
        ),
        pytest.param(
            SURGE, {"C": UNKNOWN_YET}, run(serving="C", complete=True), id="alone: nothing to wait for"
        ),
        pytest.param(SURGE, {"B": READY, "C": READY}, run(removed="B", serving="C"), id="surge: switch"),
        pytest.param(SURGE, {"B": ENDING, "C": READY}, run(removed="B", serving="C"), id="surge: old ends"),
        pytest.param(
            SURGE,
            {"A": READY, "B": HALF, "C": STARTING},
            run("A", "B", serving="A"),
            id="three: the one in the middle never served and goes",
        ),
        pytest.param(
            SURGE,
            {"A": revision((1, 2), (1, 1)), "B": READY},
            run("B", "A", serving="B"),
            id="three: the one that serves best stays",
        ),
        pytest.param(
            SURGE, {"A": READY, "B": READY}, run("B", "A", serving="B"), id="three: equals, decided by name"
        ),
        pytest.param(
            SURGE, {"B": STARTING}, run(removed="B"), id="an old one without a ready pod gives its place up"
        ),
        pytest.param(SURGE, {"B": HALF}, run("B"), id="an old one that lost a role may come back"),
        pytest.param(
            SURGE,
            {"B": STARTING, "C": READY},
            run(removed="B", serving="C"),
            id="back: the old revision still runs and is complete at once",
        ),
        pytest.param(
            SURGE,
            {"C": revision((1, 1), (1, 1))},
            run(serving="C"),
            id="scaling up: serves, but is not complete",
        ),
        pytest.param(SURGE, {"C": ENDING}, run(), id="back to one that is ending: must start anew"),
        pytest.param(RECREATE, {}, run(), id="recreate: nothing there"),
        pytest.param(RECREATE, {"B": READY}, wait("B"), id="recreate: old goes first"),
        pytest.param(RECREATE, {"B": ENDING}, wait("B"), id="recreate: waits for the last pod"),
        pytest.param(RECREATE, {"A": READY, "B": HALF}, wait("AB"), id="recreate: all old revisions go"),
        pytest.param(RECREATE, {"C": STARTING}, run(), id="recreate: starting"),
        pytest.param(RECREATE, {"C": READY}, run(serving="C", complete=True), id="recreate: ready"),
    ],
)
def test_step(strategy: RolloutStrategy, observed: dict[str, Revision], expected: Step) -> None:
    assert step(strategy, "C", REPLICAS, observed) == expected


def test_a_role_without_replicas_is_ready_but_serves_nothing() -> None:
    found = step(SURGE, "C", {"prefill": 0, "decode": 1}, {"C": revision((0, 0), (1, 1))})
    assert found == run(complete=True)


def test_an_old_revision_stays_for_the_frontends_that_may_know_no_other() -> None:
    observed = {"B": READY, "C": READY}
    assert step(SURGE, "C", REPLICAS, observed, changed_over=False) == run("B", serving="B")
    assert step(SURGE, "C", REPLICAS, observed, changed_over=True) == run(removed="B", serving="C")


def test_frontends_hold_up_nothing_but_the_end_of_an_old_revision() -> None:
    alone = step(SURGE, "C", REPLICAS, {"C": READY}, changed_over=False)
    assert alone == run(serving="C", complete=True)
    assert step(RECREATE, "C", REPLICAS, {"B": READY}, changed_over=False) == wait("B")


def test_a_whole_surge() -> None:
    """The sequence of steps that a rollout from B to C goes through."""
    stages: list[dict[str, Revision]] = [
        {"B": READY},
        {"B": READY, "C": STARTING},
        {"B": READY, "C": HALF},
        {"B": READY, "C": READY},
        {"B": ENDING, "C": READY},
        {"C": READY},
    ]
    steps = [step(SURGE, "C", REPLICAS, stage) for stage in stages]
    assert [found.serving for found in steps] == ["B", "B", "B", "C", "C", "C"]
    assert [found.complete for found in steps] == [False] * 5 + [True]


counts = st.integers(0, 3)
roles = st.builds(RoleObservation, asked=counts, ready=counts, terminating=st.booleans())
revisions = st.dictionaries(st.sampled_from(["prefill", "decode"]), roles)
anything = st.dictionaries(st.sampled_from("ABCD"), revisions)


@given(
    st.sampled_from(RolloutStrategy), anything, st.fixed_dictionaries({"prefill": counts, "decode": counts})
)
def test_invariants(
    strategy: RolloutStrategy, observed: dict[str, Revision], replicas: dict[str, int]
) -> None:
    found = step(strategy, "C", replicas, observed)
    old = {name for name, there in observed.items() if there and name != "C"}
    assert found.kept | found.removed == old
    assert not found.kept & found.removed
    assert len(found.kept) <= 1
    assert found.serving in {None, "C", *found.kept}
    assert found.run or old, "only old revisions are waited for"
    serves = [
        name
        for name in old
        if len(observed[name]) == 2
        and all(role.ready > 0 and not role.terminating for role in observed[name].values())
    ]
    new_ready = step(SURGE, "C", replicas, {"C": observed.get("C", {})}).complete
    if strategy is SURGE and serves and not new_ready:
        assert found.serving in serves, "requests are answered throughout a surge"
