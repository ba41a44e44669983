"""How a new revision takes over: the user's strategy, as far as the release allows it, or the release's."""

from disagg_operator.api.problems import Problem, Refusal
from disagg_operator.api.v1alpha1.operations import RolloutSpec, RolloutStrategy
from disagg_operator.plan.facts import provenance
from disagg_operator.plan.model import Provenance
from disagg_operator.platforms.profile import RuntimeProfile

_FIELD = "spec.rollout.strategy"


def strategy_of(rollout: RolloutSpec, runtime: RuntimeProfile) -> tuple[str, Provenance]:
    """Return the strategy, and why it is that.

    Args:
        rollout: what the user writes.
        runtime: the profile of the frontend's release.

    Raises:
        Refusal: two revisions of the release would meet, or steps are asked for where there are none.
    """
    strategy, why = _strategy(rollout.strategy, runtime)
    if strategy == RolloutStrategy.RECREATE:
        for role in ("prefill", "decode"):
            if getattr(rollout, role) is not None:
                fault = f"has no effect with Recreate, which removes the old revision first: {why.reason}"
                remedy = "Leave it out, or write strategy: Surge"
                raise Refusal([Problem(f"spec.rollout.{role}", fault, remedy, "steps-of-surge")])
    return strategy, why


def _strategy(asked: RolloutStrategy | None, runtime: RuntimeProfile) -> tuple[str, Provenance]:
    default = runtime.strategies[0]
    if asked is None:
        return default.value, provenance(default)
    allowed = [choice.value for choice in runtime.strategies]
    if asked.value not in allowed:
        fault = f"{asked} cannot be used with {runtime.name} {runtime.version}: {default.reason}"
        remedy = f"Write {' or '.join(allowed)}, or leave it out"
        raise Refusal([Problem(_FIELD, fault, remedy, "strategy-in-release")])
    return asked.value, Provenance("Set by the user.", _FIELD)
