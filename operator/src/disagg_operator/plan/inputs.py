"""What a deployment's pods are planned from, as a hash: what somebody decides, and nothing of the operator.

Two plans from the same inputs that differ were made by two versions of the operator. Pods of the one are no
reason to restart for the other: `reconcile/applying/kept.py` keeps them.

Invariants: a field that is not written, or written with its default, counts for nothing, so that a newer
schema changes no hash; neither do counts, nor what says how a rollout or an eviction goes.
"""

import json
from typing import Any

from disagg_operator.plan import names
from disagg_operator.plan.basis import Basis

_OF_NO_POD: dict[str, Any] = {
    "prefill": {"replicas"},
    "decode": {"replicas"},
    "frontend": {"replicas"},
    "drain": {"maxUnavailable", "disruptionBudgets"},
    "scaling": None,
    "rollout": None,
}
"""Fields of the specification that change no pod: all of a field, or some of it."""
_ANNOTATIONS = (names.ANNOTATION_SSH_KEY, names.ANNOTATION_REPLAN)


def inputs_of(basis: Basis, images: set[str]) -> str:
    """Return the hash.

    Args:
        basis: what the deployment is planned from.
        images: images of its pods, by which is known whether the installation's worker image is one of them.
    """
    spec = basis.spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    for field, parts in _OF_NO_POD.items():
        if parts is None:
            spec.pop(field, None)
        elif field in spec:
            spec[field] = {key: value for key, value in spec[field].items() if key not in parts}
    annotations = basis.resource.metadata.annotations
    installation, domain = basis.installation, basis.compute_domain
    material = {
        "spec": {key: value for key, value in spec.items() if value not in ({}, [], None)},
        "annotations": {key: annotations[key] for key in _ANNOTATIONS if key in annotations},
        "image": sorted(images & {installation.worker_image}),
        "services": dict(installation.service_images) if basis.discovery.services else {},
        "profiles": installation.catalogue.added_to(basis.spec.platform),
        # A user's ComputeDomain says itself how pods claim its channels.
        "domain": domain.template if domain is not None and domain.adopted else "",
    }
    return names.digest(json.dumps(material, sort_keys=True, default=str))
