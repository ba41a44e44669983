"""What the profiles of runtimes derive, and what users may say about it."""

from disagg_operator.api.admission.variables import WIRING
from disagg_operator.platforms.catalogue import builtin


def test_every_derived_variable_of_a_runtime_is_protected() -> None:
    for versions in builtin().runtimes.values():
        for profile in versions.values():
            derived = (*profile.environment, *profile.worker.environment, *profile.frontend.environment)
            assert {variable.name for variable in derived} <= set(WIRING)
