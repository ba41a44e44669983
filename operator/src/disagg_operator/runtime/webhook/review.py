"""The answer to one AdmissionReview. Pure.

Invariant: what does not change a specification is never refused: the operator must be able to take its
finalizer off a resource, and a user to pause or label it, whatever newer rules say about the rest.
"""

from collections.abc import Mapping
from typing import Any

from disagg_operator.api.parse import accept
from disagg_operator.api.problems import Problem, Refusal
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.planner import plan

_UNPROCESSABLE = 422
_LONGEST_WARNING = 256
"""Clients may cut longer ones."""


def answer(review: Mapping[str, Any], installation: Installation) -> dict[str, Any]:
    """Judge the object of an AdmissionReview.

    Args:
        review: the review, as ``admission.k8s.io/v1`` has it.
        installation: settings of the operator's installation.

    Returns:
        The review with its response.
    """
    request = review["request"]
    response = {"uid": request["uid"], **_verdict(request, installation)}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}


def _verdict(request: Mapping[str, Any], installation: Installation) -> dict[str, Any]:
    judged, before = request.get("object"), request.get("oldObject")
    if not isinstance(judged, Mapping) or _keeps_specification(judged, before):
        return {"allowed": True}
    try:
        planned = plan(accept(judged), installation)
    except Refusal as refusal:
        message = "\n".join(str(problem) for problem in refusal.problems)
        return {"allowed": False, "status": {"code": _UNPROCESSABLE, "reason": "Invalid", "message": message}}
    return {"allowed": True, **_warnings(planned.warnings)}


def _keeps_specification(judged: Mapping[str, Any], before: object) -> bool:
    metadata = judged.get("metadata")
    if isinstance(metadata, Mapping) and "deletionTimestamp" in metadata:
        return True
    return isinstance(before, Mapping) and judged.get("spec") == before.get("spec")


def _warnings(problems: tuple[Problem, ...]) -> dict[str, list[str]]:
    if not problems:
        return {}
    return {"warnings": [str(problem)[:_LONGEST_WARNING] for problem in problems]}
