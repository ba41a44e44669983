"""Whatever a user writes into ``spec.platformProfile`` is planned or refused with a field, never an error."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from disagg_operator.api.problems import Problem, Refusal
from disagg_operator.platforms.profile import Device, MachineProfile, Sourced, Toleration, Variable
from unit.deployments import planned

WORDS = st.sampled_from(
    ["efa", "roce", "generic", "rdma/ib", "FI_PROVIDER", "delete", "1", "decode", "{{", ""]
)
SCALARS = st.none() | st.booleans() | st.integers(-1, 64) | WORDS
FIELDS = {
    *("like", "$patch", "rôle"),
    *(
        field
        for model in (MachineProfile, Device, Toleration, Variable, Sourced)
        for field in model.model_fields
    ),
}
KEYS = st.sampled_from(sorted(FIELDS))
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150)
@given(profile=st.dictionaries(KEYS, JSON, max_size=4))
def test_any_profile_is_planned_or_refused_by_field(profile: dict[str, Any]) -> None:
    assert all(problem.field.startswith("spec.") for problem in problems(profile))


def problems(profile: dict[str, Any]) -> tuple[Problem, ...]:
    """Return what a profile is refused for; nothing if it is planned."""
    try:
        planned("aws-p5.48xlarge", platformProfile=profile)
    except Refusal as refusal:
        return refusal.problems
    return ()
