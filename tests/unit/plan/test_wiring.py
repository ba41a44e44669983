"""Variables that the profiles derive and variables that users may not override are the same ones."""

from disagg_operator.api.admission.variables import WIRING
from disagg_operator.platforms import catalogue


def test_every_derived_variable_of_a_runtime_is_protected() -> None:
    for versions in catalogue.runtimes().values():
        for profile in versions.values():
            derived = (*profile.environment, *profile.worker.environment, *profile.frontend.environment)
            assert {variable.name for variable in derived} <= set(WIRING)
