"""From a dictionary to an accepted DisaggDeployment, or to problems that a person can act on.

Invariants: only metadata and specification are read (a status written by a newer operator does no harm); a
value is taken as the API server takes it (null means absent, text is never turned into a number); an unknown
key is a problem, never ignored.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from disagg_operator.api import admission
from disagg_operator.api.document import as_json
from disagg_operator.api.kubernetes.shapes import faults
from disagg_operator.api.problems import Problem, Refusal
from disagg_operator.api.translate import problems_of
from disagg_operator.api.v1alpha1 import API_VERSION, KIND
from disagg_operator.api.v1alpha1.resource import DisaggDeployment

WHOLE = "resource"
"""Field of a problem that concerns the resource as a whole."""


def accept(obj: Mapping[str, Any]) -> DisaggDeployment:
    """Parse a DisaggDeployment and check that it makes sense.

    Args:
        obj: the resource, as the API server or a YAML file has it.

    Raises:
        Refusal: the resource has the wrong shape, contradicts itself or asks for what is not built yet.
    """
    resource = parse(obj)
    judgement = admission.check(resource)
    if judgement.refused:
        raise Refusal(judgement.refused)
    return resource


def parse(obj: Mapping[str, Any]) -> DisaggDeployment:
    """Parse a DisaggDeployment, without checking whether its parts go together.

    Args:
        obj: the resource, as the API server or a YAML file has it.

    Raises:
        Refusal: a field is unknown, missing, of the wrong type or out of bounds.
    """
    if not isinstance(obj, Mapping):
        raise Refusal([_whole("is not an object", f"Write a {KIND} of {API_VERSION}")])
    document = as_json({key: value for key, value in obj.items() if key != "status"})
    problems = [*_missing_header(obj), *_metadata_faults(obj.get("metadata"))]
    try:
        resource = validated(document)
    except ValidationError as error:
        found = problems_of(error, WHOLE)
        fields = {each.field for each in found}
        # Both know names and labels: pydantic's words are those of our own fields.
        raise Refusal([*found, *(each for each in problems if each.field not in fields)]) from None
    if problems:
        raise Refusal(problems)
    return resource


def validated(document: str) -> DisaggDeployment:
    """Return the resource of a JSON document.

    Raises:
        ValidationError: it has another shape.
    """
    # JSON mode, because there "strict" means just what it means to the API server.
    return DisaggDeployment.model_validate_json(document, strict=True, by_alias=True, by_name=False)


def _missing_header(obj: Mapping[str, Any]) -> list[Problem]:
    expected = {"apiVersion": API_VERSION, "kind": KIND}
    return [
        Problem(key, "is missing", f"Write {key}: {value}", "shape")
        for key, value in expected.items()
        if obj.get(key) is None
    ]


def _metadata_faults(metadata: object) -> list[Problem]:
    if not isinstance(metadata, Mapping):
        return []  # pydantic says so
    return [
        Problem(each.field, each.fault, each.remedy, "shape")
        for each in faults("ObjectMeta", metadata, "metadata")
    ]


def _whole(fault: str, remedy: str) -> Problem:
    return Problem(WHOLE, fault, remedy, "shape")
