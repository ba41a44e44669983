"""What the soak takes for a leak, by samples that are made up."""

from dataclasses import replace

import pytest

from soak.churn import Churn
from soak.sampling import Sample
from soak.verdict import Empty, faults, grown, trend

CALM = Sample(
    seconds=0.0,
    process=2,
    deployments=0,
    resident=90.0,
    anonymous=80.0,
    threads=3,
    files=40,
    sockets=30,
    tasks=31,
    waiting=0,
    delayed=0,
    failing=0,
    cached=0,
    reconciles={"done": 9},
    requests={"get": 9},
)
OBJECTS = {"builtins.dict": 10_000, "asyncio.Task": 31}
FLAT = trend([replace(CALM, seconds=float(at)) for at in range(9)])


def test_what_is_the_same_again_is_no_leak() -> None:
    before = Empty(CALM, OBJECTS)
    again = Empty(replace(CALM, seconds=600.0, tasks=33, files=44, anonymous=81.0), OBJECTS)
    assert faults(before, again, FLAT, growth=0.05) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"tasks": 60}, "tasks: 31 before, 60 after"),
        ({"files": 90}, "file descriptors: 40 before, 90 after"),
        ({"threads": 30}, "threads: 3 before, 30 after"),
        ({"waiting": 2}, "2 in the queue though no deployment is left"),
        ({"delayed": 1}, "1 to be reconciled later though no deployment is left"),
        ({"failing": 1}, "1 failing though no deployment is left"),
        ({"cached": 7}, "7 objects in the caches though no deployment is left"),
        ({"anonymous": 100.0}, "memory with no deployment grew by 25.0%, 5% is allowed"),
    ],
)
def test_what_is_held_without_need_is_told(changed: dict[str, float], said: str) -> None:
    after = Empty(replace(CALM, **changed), OBJECTS)  # type: ignore[arg-type]
    assert faults(Empty(CALM, OBJECTS), after, FLAT, growth=0.05) == [said]


def test_memory_that_climbs_during_churn_is_told() -> None:
    climbing = trend([replace(CALM, seconds=60.0 * at, anonymous=80.0 + at) for at in range(30)])
    assert climbing.per_hour == pytest.approx(60.0)
    (said,) = faults(Empty(CALM, OBJECTS), Empty(CALM, OBJECTS), climbing, growth=0.05)
    assert said.startswith("memory grew by ")


def test_a_single_spike_is_no_slope() -> None:
    sizes = [80.0] * 30
    sizes[15] = 200.0
    assert (
        trend([replace(CALM, seconds=float(at), anonymous=size) for at, size in enumerate(sizes)]).growth == 0
    )


def test_types_that_have_many_more_objects_are_named() -> None:
    after = {"builtins.dict": 10_200, "asyncio.Task": 31, "app.Forgotten": 1_000}
    assert grown(Empty(CALM, OBJECTS), Empty(CALM, after)) == {"app.Forgotten": 1_000}


def test_the_script_does_the_same_by_the_same_seed_and_mends_all_in_the_end() -> None:
    one, other = Churn(5, 20), Churn(5, 20)
    told = [
        [(each.kind, each.on.name, each.patch) for each in (churn.next() for _ in range(400))]
        for churn in (one, other)
    ]
    assert told[0] == told[1]
    assert len({kind for kind, *_ in told[0]}) >= 11
    one.mend()
    assert not any(each.paused or each.mistaken for each in one.there)
