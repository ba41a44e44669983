"""What a rule is: an id, a severity, the place that it was learnt from, and a function that finds faults."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from disagg_operator.api.problems import Problem
from disagg_operator.api.v1alpha1.role import RoleSpec
from disagg_operator.api.v1alpha1.spec import DisaggDeploymentSpec

S = TypeVar("S")


class Severity(StrEnum):
    """What becomes of a finding."""

    REFUSE = "refuse"
    """It cannot work: the specification is not accepted."""
    WARN = "warn"
    """It is doubtful: the specification is accepted, and the user is told."""


@dataclass(frozen=True)
class Finding:
    """One fault: path of the field, what is wrong, what to write instead."""

    field: str
    fault: str
    remedy: str


@dataclass(frozen=True)
class Rule(Generic[S]):
    """One admission rule.

    Attributes:
        id: stable, unique name; what ``spec.security.allowUnsafe`` names.
        source: document or thread that says so.
        find: returns the faults of a subject: of a specification, or of a whole plan.
        unsafe: whether a deployment may override the rule on purpose.
        severity: what becomes of its findings.
        says: what it finds, for docs, where no message of ``find`` says that without its values.
    """

    id: str
    source: str
    find: Callable[[S], Iterable[Finding]]
    unsafe: bool = False
    severity: Severity = Severity.REFUSE
    says: str = ""

    def problems(self, subject: S) -> Iterator[Problem]:
        """Return what the rule finds wrong."""
        for finding in self.find(subject):
            remedy = self._overridable(finding.remedy) if self.unsafe else finding.remedy
            yield Problem(finding.field, finding.fault, remedy, self.id)

    def _overridable(self, remedy: str) -> str:
        joined = f"{remedy} Or" if remedy.endswith("?") else f"{remedy}, or"
        return f"{joined} name {self.id} in spec.security.allowUnsafe"


@dataclass(frozen=True)
class Judgement:
    """What rules say of one subject.

    Attributes:
        refused: why it cannot be accepted.
        warned: what is doubtful about it.
    """

    refused: tuple[Problem, ...]
    warned: tuple[Problem, ...]


def judge(rules: Iterable[Rule[S]], subject: S, allowed: Sequence[str]) -> Judgement:
    """Ask all rules about a subject.

    Args:
        rules: the rules.
        subject: what they judge.
        allowed: ids of rules that the deployment overrides on purpose.

    Returns:
        Problems in the order of the rules, at most one of a rule for a field and fault.
    """
    found: dict[Severity, dict[Problem, None]] = {severity: {} for severity in Severity}
    for rule in rules:
        if not (rule.unsafe and rule.id in allowed):
            found[rule.severity] |= dict.fromkeys(rule.problems(subject))
    return Judgement(tuple(found[Severity.REFUSE]), tuple(found[Severity.WARN]))


def roles(spec: DisaggDeploymentSpec) -> tuple[tuple[str, RoleSpec], ...]:
    """Return both roles with their paths."""
    return ("spec.prefill", spec.prefill), ("spec.decode", spec.decode)
