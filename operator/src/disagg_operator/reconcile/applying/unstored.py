"""Fields that the API server does not store as they were applied, read back from its answer to each apply.

A field whose feature gate is off is dropped without a word, and a mutating webhook may write another value.
Both are noted on the object, so that they are told in the status and not written again with each reconcile.
"""

import json
from collections.abc import Iterator
from dataclasses import replace

from disagg_operator.plan import names
from disagg_operator.reconcile.applying.diff import differences, stored_otherwise, value_digest
from disagg_operator.reconcile.kinds import Object, describe
from disagg_operator.reconcile.observe import Observed
from disagg_operator.reconcile.preflight.fault import Assessment, Check, Fault

_GATES = "https://kubernetes.io/docs/reference/command-line-tools-reference/feature-gates/"
_GANGS = (
    "Pods of an instance are scheduled one by one. Turn the feature gate GenericWorkload on for the API "
    "server, or write spec.placement.gang.scheduler: None"
)
_MEANING = {
    "spec.template.spec.schedulingGroup": _GANGS,
    "spec.template.spec.workloadRef": _GANGS,
}
_OTHERWISE = "Turn on the feature gate of this field for the API server, or leave the field out"
_SHOWN = 3


def note(applied: Object, stored: Object) -> dict[str, str | None] | None:
    """Return the annotation that an object needs after an apply, or None where it has the right one.

    Args:
        applied: what was sent.
        stored: what the API server answered.
    """
    found = {each.path: value_digest(each.found) for each in differences(applied, stored)}
    if found == stored_otherwise(stored):
        return None
    text = json.dumps(found, sort_keys=True, separators=(",", ":")) if found else None
    return {names.ANNOTATION_STORED_OTHERWISE: text}


def with_unstored(found: Assessment, observed: Observed) -> Assessment:
    """Return what preflight found, and which fields of the deployment's objects are stored otherwise."""
    dropped: dict[str, list[str]] = {}
    changed: dict[str, list[str]] = {}
    for obj, path, digest in _noted(observed):
        (dropped if digest is None else changed).setdefault(path, []).append(describe(obj))
    faults = [
        Fault(
            Check.FIELDS_NOT_STORED,
            f"The API server does not store {path} of {_some(objects)}, though it takes it: it drops fields "
            f"whose feature gate is off. {_MEANING.get(path, _OTHERWISE)}",
            _GATES,
        )
        for path, objects in dropped.items()
    ]
    remarks = [
        f"Something on the API server, such as a webhook, changes {path} of {_some(objects)}."
        for path, objects in changed.items()
    ]
    if not faults and not remarks:
        return found
    return replace(found, faults=(*found.faults, *faults), remarks=(*found.remarks, *remarks))


def _noted(observed: Observed) -> Iterator[tuple[Object, str, str | None]]:
    for obj in observed.objects.values():
        for path, digest in stored_otherwise(obj).items():
            yield obj, path, digest


def _some(objects: list[str]) -> str:
    shown = ", ".join(sorted(objects)[:_SHOWN])
    return f"{shown} and {len(objects) - _SHOWN} more" if len(objects) > _SHOWN else shown
