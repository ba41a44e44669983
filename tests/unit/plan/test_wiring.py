"""What the profiles of runtimes derive, and what users may say about it."""

from disagg_operator.api.admission.variables import WIRING
from disagg_operator.plan.facts import NAMES
from disagg_operator.platforms.catalogue import builtin
from disagg_operator.platforms.profile import Conditional, Layer, ProfileModel


def test_every_derived_variable_of_a_runtime_is_protected() -> None:
    for versions in builtin().runtimes.values():
        for profile in versions.values():
            derived = (*profile.environment, *profile.worker.environment, *profile.frontend.environment)
            assert {variable.name for variable in derived} <= set(WIRING)


def test_conditions_speak_of_facts_that_there_are() -> None:
    catalogue = builtin()
    layers: list[Layer] = [*catalogue.machines.values(), *catalogue.fabrics.values()]
    for versions in catalogue.runtimes.values():
        layers += [release for profile in versions.values() for release in profile.engines.values()]
    conditions = [each.when for layer in layers for each in _conditional(layer)]
    assert conditions
    for condition in conditions:
        assert set(condition) <= NAMES


def _conditional(model: ProfileModel) -> list[Conditional]:
    found = []
    for value in dict(model).values():
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, Conditional):
                found.append(each)
    return found
