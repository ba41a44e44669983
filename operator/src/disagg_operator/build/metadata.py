"""Metadata that all objects of a deployment share."""

from typing import Any

from disagg_operator.api.v1alpha1 import API_VERSION, KIND
from disagg_operator.plan import names
from disagg_operator.plan.model import Plan

Object = dict[str, Any]
"""A Kubernetes object, or a part of one, in the shape of its JSON."""


def metadata(
    plan: Plan, name: str, component: str, revision: str | None = None, group: int | None = None
) -> Object:
    """Return the metadata of an object.

    Args:
        plan: the plan that the object is part of.
        name: name of the object.
        component: prefill, decode, frontend, or worker for what both roles share.
        revision: revision of the workers, where the object belongs to one.
        group: number of the pod group, where the object belongs to one of several nodes.
    """
    described: Object = {
        "name": name,
        "namespace": plan.namespace,
        "labels": names.labels(plan.name, component, revision, group),
    }
    if plan.uid is not None:
        described["ownerReferences"] = [
            {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "name": plan.name,
                "uid": plan.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ]
    return described
