"""All that is wrong with a resource, in one go, for a person who mends it.

The operator reads, checks the specification, plans and checks the plan, and stops at the first stage that
finds a fault. Here each stage goes on with what the one before refused: shape as its remedies would have it,
all else as it is written.

Invariant: what may follow from another fault is not told: of an area that had to be guessed at, and of a
field that is told already, nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from disagg_operator.api import admission
from disagg_operator.api.mending import Mended, area, mended
from disagg_operator.api.parse import parse
from disagg_operator.api.problems import Problem, Refusal
from disagg_operator.api.v1alpha1.resource import DisaggDeployment
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.planner import plan


@dataclass(frozen=True)
class Judged:
    """What is to be said of a resource.

    Attributes:
        refused: why it cannot be accepted, sorted by field.
        warned: what is doubtful about one that can.
        allowed: what would be refused or doubtful, but for ``spec.security.allowUnsafe``.
    """

    refused: tuple[Problem, ...]
    warned: tuple[Problem, ...]
    allowed: tuple[Problem, ...]


def judged_whole(document: Mapping[str, Any], installation: Installation) -> Judged:
    """Judge a resource.

    Args:
        document: the resource.
        installation: settings of the operator's installation.
    """
    try:
        read = Mended(parse(document), (), frozenset())
    except Refusal as refusal:
        read = _mended(document, refusal)
    if read.resource is None:
        return Judged(read.problems, (), ())
    found = _Faults(read)
    warned = found.go_on(read.resource, installation)
    allowed = _Faults(read)
    also = allowed.go_on(_without_overrides(read.resource), installation)
    return Judged(
        tuple(sorted(found.problems)),
        () if found.problems else warned,
        tuple(
            problem
            for problem in (*sorted(allowed.problems), *also)
            if problem.rule in read.resource.spec.security.allow_unsafe
        ),
    )


def _mended(document: Mapping[str, Any], refusal: Refusal) -> Mended:
    try:
        found = mended(document)
    except Refusal:
        return Mended(None, refusal.problems, frozenset())
    # What the refusal leaves out where there are very many is left out here, too.
    more = (problem for problem in found.problems if problem not in refusal.problems)
    return Mended(found.resource, (*refusal.problems, *more), found.blurred)


def _without_overrides(resource: DisaggDeployment) -> DisaggDeployment:
    security = resource.spec.security.model_copy(update={"allow_unsafe": []})
    spec = resource.spec.model_copy(update={"security": security})
    return resource.model_copy(update={"spec": spec})


class _Faults:
    """Faults of one resource that do not follow from each other."""

    def __init__(self, read: Mended) -> None:
        self.problems = list(read.problems)
        self._blurred = read.blurred

    def go_on(self, resource: DisaggDeployment, installation: Installation) -> tuple[Problem, ...]:
        """Look for what is wrong beyond the shape, and return what is doubtful."""
        self._add(admission.check(resource).refused)
        accepted = not self.problems
        try:
            return plan(resource, installation).warnings
        except Refusal as refusal:
            self._add(refusal.problems)
        except Exception:
            # A plan is promised for what is accepted. This may be anything.
            if accepted:
                raise
        for look_up in (_machine, _release):
            try:
                look_up(resource, installation)
            except Refusal as refusal:
                self._add(refusal.problems)
        return ()

    def _add(self, problems: tuple[Problem, ...]) -> None:
        told = {problem.field for problem in self.problems}
        self.problems += [
            problem
            for problem in problems
            if not any(_within(problem.field, field) for field in told)
            and area(problem.field) not in self._blurred
        ]


def _within(field: str, other: str) -> bool:
    return field == other or field.startswith((f"{other}.", f"{other}["))


def _machine(resource: DisaggDeployment, installation: Installation) -> None:
    installation.catalogue.asked(resource.spec.platform, resource.spec.platform_profile)


def _release(resource: DisaggDeployment, installation: Installation) -> None:
    asked = resource.spec.runtime
    installation.catalogue.runtime(asked.frontend, asked.version, asked.engine)
