"""What the profiles of runtimes derive, and what users may say about it."""

from disagg_operator.api.admission.variables import WIRING
from disagg_operator.platforms.catalogue import builtin
from unit.deployments import planned

FREE = {"DYN_MIGRATION_LIMIT", "DYN_ROUTER_REPLICA_SYNC", "USER"}
"""What wires nothing together, so that whoever wants it otherwise may say so."""


def test_every_derived_variable_of_a_runtime_is_protected() -> None:
    for versions in builtin().runtimes.values():
        for profile in versions.values():
            derived = (*profile.environment, *profile.worker.environment, *profile.frontend.environment)
            assert {variable.name for variable in derived} <= set(WIRING) | FREE


def test_whoever_wants_no_retries_says_so() -> None:
    for written, limit in (([], "3"), ([{"name": "DYN_MIGRATION_LIMIT", "value": "0"}], "0")):
        environment = planned(frontend={"env": written}).frontend.pod.environment
        assert [each.value for each in environment if each.name == "DYN_MIGRATION_LIMIT"] == [limit]
