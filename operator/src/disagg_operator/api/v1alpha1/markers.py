"""Kubernetes' additions to a schema, written beside the model or field that they belong to.

They are passed as ``json_schema_extra``; pydantic ignores them, the API server enforces them.
"""

from typing import Any, Literal

Reason = Literal["FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate"]


def list_map(*keys: str) -> dict[str, Any]:
    """Mark a list field as a map keyed by ``keys``, so that server-side apply merges it entry by entry."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


def list_set() -> dict[str, Any]:
    """Mark a list of scalars as a set: no entry twice."""
    return {"x-kubernetes-list-type": "set"}


def whole(bits: Literal[32, 64] = 32) -> dict[str, Any]:
    """Give the width of a whole number."""
    return {"format": f"int{bits}"}


def cel(
    rule: str, message: str, field_path: str | None = None, reason: Reason = "FieldValueInvalid"
) -> dict[str, str]:
    """Describe one rule that the API server evaluates itself.

    Args:
        rule: CEL expression over ``self``.
        message: fault and remedy, for people. The API server puts the path before it.
        field_path: path of the faulty field below ``self``, such as ``.minReplicas``. Default: ``self``.
        reason: machine-readable cause.
    """
    described = {"rule": rule, "message": message}
    if field_path is not None:
        described["fieldPath"] = field_path
    if reason != "FieldValueInvalid":  # the API server's own default
        described["reason"] = reason
    return described


def rules(*found: dict[str, str]) -> dict[str, Any]:
    """Attach CEL rules, each made by :func:`cel`."""
    return {"x-kubernetes-validations": list(found)}
