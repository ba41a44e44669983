"""The facts that conditions and templates of profiles may speak of.

| fact | values |
|---|---|
| engine, frontend | as in ``spec.runtime`` |
| role | prefill, decode |
| nodes | one, several: pods of one model instance |
| fabric | name of the machine's first fabric |
| fabrics | names of all its fabrics, separated by commas |
| architecture | amd64, arm64, or any |
| method | library that moves KV cache |
| backend | NIXL plugin, or none |
| security | Restricted, IpcLock, Privileged |
"""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from disagg_operator.plan.model import Provenance
from disagg_operator.platforms.profile import Conditional, Sourced

C = TypeVar("C", bound=Conditional)

ONE, SEVERAL = "one", "several"
ANY_ARCHITECTURE = "any"
NO_BACKEND = "none"
NAMES = frozenset(
    {
        "engine",
        "frontend",
        "role",
        "nodes",
        "fabric",
        "fabrics",
        "architecture",
        "method",
        "backend",
        "security",
    }
)

Facts = Mapping[str, str]


def applies(value: Conditional, facts: Facts) -> bool:
    """Tell whether a conditional value holds.

    Args:
        value: a value of a profile.
        facts: what is known; a fact that is not known yet matches nothing.
    """
    return all(facts.get(name) in allowed for name, allowed in value.when.items())


def applicable(values: Iterable[C], facts: Facts) -> tuple[C, ...]:
    """Return the values that hold, in their order."""
    return tuple(value for value in values if applies(value, facts))


def first(values: Iterable[C], facts: Facts) -> C | None:
    """Return the first value that holds, or None."""
    return next(iter(applicable(values, facts)), None)


def provenance(value: Sourced) -> Provenance:
    """Return why a profile's value is there."""
    return Provenance(value.reason, value.source, value.line)
