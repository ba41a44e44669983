"""A sample of the crash points: every write of a creation, and some calls of other scenarios.

The operator is killed with SIGKILL before and after a call, and started again; `make test-crash-points` does
it at all calls of all scenarios.
"""

import random
from collections.abc import Iterator, Sequence

import pytest

from integration.faults.crash.campaign import Crew, Expected, Result, crash_everywhere, crew_of
from integration.faults.crash.points import Point, sample
from integration.faults.crash.scenarios import BY_NAME, SCENARIOS, Scenario
from integration.operator.control_plane import Api
from testcluster.fixtures import ApiServer

# Rounds of a dozen deployments each.
pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(1200)]

SEED = 3
SIZE = 16
SAMPLED = 8
OTHERS = sorted(scenario.name for scenario in SCENARIOS if not scenario.driver and scenario.name != "create")
CHOSEN = random.Random(SEED).sample(OTHERS, 2)  # noqa: S311 - no secret


@pytest.fixture(scope="module")
def crew(api: Api, apiserver: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    """An operator in a namespace of its own, behind a gate."""
    with crew_of(api, apiserver.kubeconfig, tmp_path_factory.mktemp("crash")) as running:
        yield running


def crashes(
    crew: Crew, scenario: Scenario, expected: Expected, points: Sequence[Point], tries: int
) -> list[Result]:
    """Crash at all of these points; none may fail."""
    results = list(crash_everywhere(crew, scenario, expected, points, size=SIZE, tries=tries))
    failed = [
        f"{result.point}: {'; '.join(result.faults)}" for result in results if result.outcome == "failed"
    ]
    assert not failed, "\n".join(failed)
    return results


def test_an_operator_killed_at_any_write_of_a_creation_goes_on(crew: Crew) -> None:
    scenario = BY_NAME["create"]
    expected = crew.undisturbed(scenario, 3)
    points = [point for point in expected.points if point.is_write]
    results = crashes(crew, scenario, expected, points, 3)
    # How often a status is written differs, and on a busy machine some come to their point too late.
    assert sum(result.outcome == "converged" for result in results) >= len(points) // 2


@pytest.mark.parametrize("name", CHOSEN)
def test_an_operator_killed_at_a_sample_of_calls_goes_on(crew: Crew, name: str) -> None:
    scenario = BY_NAME[name]
    expected = crew.undisturbed(scenario, 3)
    results = crashes(crew, scenario, expected, sample(expected.points, SAMPLED, SEED), 2)
    assert any(result.outcome == "converged" for result in results)
