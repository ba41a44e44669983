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
    _require_header(obj)
    try:
        # JSON mode, because there "strict" means just what it means to the API server.
        resource = DisaggDeployment.model_validate_json(document, strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        raise Refusal(problems_of(error, WHOLE)) from None
    wrong = [
        Problem(each.field, each.fault, each.remedy, "shape")
        for each in faults("ObjectMeta", obj["metadata"], "metadata")
    ]
    if wrong:
        raise Refusal(wrong)
    return resource


def _require_header(obj: Mapping[str, Any]) -> None:
    expected = {"apiVersion": API_VERSION, "kind": KIND}
    missing = [
        Problem(key, "is missing", f"Write {key}: {value}", "shape")
        for key, value in expected.items()
        if obj.get(key) is None
    ]
    if missing:
        raise Refusal(missing)


def _whole(fault: str, remedy: str) -> Problem:
    return Problem(WHOLE, fault, remedy, "shape")
