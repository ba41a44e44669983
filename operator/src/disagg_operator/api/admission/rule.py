"""What a rule is: an id, the place that it was learnt from, and a function that finds faults."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from disagg_operator.api.problems import Problem
from disagg_operator.api.v1alpha1.resource import DisaggDeployment
from disagg_operator.api.v1alpha1.role import RoleSpec
from disagg_operator.api.v1alpha1.spec import DisaggDeploymentSpec


@dataclass(frozen=True)
class Finding:
    """One fault: path of the field, what is wrong, what to write instead."""

    field: str
    fault: str
    remedy: str


@dataclass(frozen=True)
class Rule:
    """One admission rule.

    Attributes:
        id: stable, unique name; what ``spec.security.allowUnsafe`` names.
        source: document or thread that says so.
        find: returns the faults of a specification.
        unsafe: whether a deployment may override the rule on purpose.
    """

    id: str
    source: str
    find: Callable[[DisaggDeploymentSpec], Iterable[Finding]]
    unsafe: bool = False

    def problems(self, resource: DisaggDeployment) -> Iterator[Problem]:
        """Return what the rule finds wrong."""
        override = f", or name {self.id} in spec.security.allowUnsafe" if self.unsafe else ""
        for finding in self.find(resource.spec):
            yield Problem(finding.field, finding.fault, f"{finding.remedy}{override}", self.id)


def roles(spec: DisaggDeploymentSpec) -> tuple[tuple[str, RoleSpec], ...]:
    """Return both roles with their paths."""
    return ("spec.prefill", spec.prefill), ("spec.decode", spec.decode)
