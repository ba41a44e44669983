"""A document as it would be with its faults of shape mended, so that all else that is wrong is found as well.

What a remedy names is done (``Did you mean tensor?``, ``Leave the quotes out: 8``). Where none does, the
field is left out, or something stands in for it, and its area is blurred: what is found there may follow from
that.

Invariant: nothing here is ever applied. It serves to tell a person all faults in one go.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from disagg_operator.api.document import as_json
from disagg_operator.api.parse import WHOLE, validated
from disagg_operator.api.problems import Problem
from disagg_operator.api.translate import meant_field, meant_value, problems_of
from disagg_operator.api.v1alpha1.resource import DisaggDeployment

_ROUNDS = 8
"""Attempts. A mended field may be wrong in another way, and no field is in more than a few."""
_STAND_INS: Mapping[str, Any] = {
    "metadata": {"name": "x"},
    "spec": {"model": {"name": "x", "source": {}}},
    "model": {"name": "x", "source": {}},
    "source": {},
    "repository": "x/x",
}
"""What stands in for a field that is needed; ``x`` for all others."""
_WORKERS = frozenset(
    {"platform", "platformProfile", "runtime", "transfer", "prefill", "decode", "computeDomain"}
)
"""Fields of the specification that are judged together: what one says decides what the others may say."""


@dataclass(frozen=True)
class Mended:
    """A resource that can be read.

    Attributes:
        resource: what was read; None where that could not be brought about.
        problems: all faults of shape that were seen.
        blurred: areas about which nothing more is sure.
    """

    resource: DisaggDeployment | None
    problems: tuple[Problem, ...]
    blurred: frozenset[str]


def area(field: str) -> str:
    """Return the area of a field, such as ``spec.frontend``; all that decides about workers is one.

    Args:
        field: path of a problem.
    """
    first, _, rest = field.partition(".")
    section = rest.partition(".")[0].partition("[")[0]
    return "workers" if first == "spec" and section in _WORKERS else f"{first}.{section}"


def mended(obj: Mapping[str, Any]) -> Mended:
    """Return what can be read of a document once faults of shape are mended.

    Args:
        obj: a resource.

    Raises:
        Refusal: it is not even JSON.
    """
    document = json.loads(as_json({key: value for key, value in obj.items() if key != "status"}))
    problems: dict[Problem, None] = {}
    blurred: set[str] = set()
    for _ in range(_ROUNDS):
        try:
            resource = validated(json.dumps(document))
        except ValidationError as error:
            found = problems_of(error, WHOLE)
            # The same field again follows from how it was mended.
            seen = {problem.field for problem in problems}
            problems |= dict.fromkeys(problem for problem in found if problem.field not in seen)
            for problem, detail in zip(found, error.errors(include_url=False), strict=True):
                if not _mend(document, detail):
                    blurred.add(area(problem.field))
        else:
            return Mended(resource, tuple(problems), frozenset(blurred))
    return Mended(None, tuple(problems), frozenset(blurred))


def _mend(document: dict[str, Any], detail: ErrorDetails) -> bool:
    """Do what the remedy of an error says, or leave the field out; return whether the remedy was done."""
    steps, meant = detail["loc"], meant_value(detail)
    if meant is None and any(isinstance(step, int) for step in steps):
        # Without one of its entries a list would be about other ones.
        steps = steps[: next(index for index, step in enumerate(steps) if isinstance(step, int))]
    parent: Any = document
    for step in steps[:-1]:
        parent = parent.get(step, {}) if isinstance(parent, dict) else parent[step]
    if not steps:
        return False
    key = steps[-1]
    if meant is not None:
        parent[key] = meant
        return True
    if detail["type"] == "missing" and steps == detail["loc"]:
        parent[key] = _STAND_INS.get(str(key), "x")
        return False
    value, field = parent.pop(key, None), meant_field(detail) if detail["type"] == "extra_forbidden" else None
    if field is not None and steps == detail["loc"]:
        parent.setdefault(field, value)
    return field is not None
