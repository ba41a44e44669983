"""What has to be written and what has to go, by comparing what is desired with what is there.

Invariants: pure; an object is written only where its desired content is another one than was applied last, or
where somebody changed a field of ours. Fields of others (defaults, other field managers) are left alone, as
server-side apply leaves them.
"""

import json
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

from disagg_operator.api.quantities import quantity
from disagg_operator.plan import names
from disagg_operator.reconcile.kinds import Object

_DIGEST = 16


def stamp(obj: Object) -> Object:
    """Return the object with the hash of its content as annotation."""
    content = json.dumps(obj, sort_keys=True, separators=(",", ":"))
    digest = sha256(content.encode()).hexdigest()[:_DIGEST]
    metadata = obj["metadata"]
    annotations = {**metadata.get("annotations", {}), names.ANNOTATION_APPLIED_HASH: digest}
    return {**obj, "metadata": {**metadata, "annotations": annotations}}


def must_apply(desired: Object, live: Object | None) -> bool:
    """Tell whether a stamped object has to be written.

    Args:
        desired: the object with its hash.
        live: the object as last seen, or None.
    """
    return live is None or not _contained(desired, live)


def is_terminating(obj: Mapping[str, Any]) -> bool:
    """Tell whether the object is being deleted."""
    return "deletionTimestamp" in obj["metadata"]


def identity(obj: Mapping[str, Any]) -> tuple[str, str]:
    """Return what an object is called among its deployment's objects."""
    return obj["kind"], obj["metadata"]["name"]


def to_prune(
    live: Iterable[Object], desired: Iterable[Object], owner: str, kept: frozenset[str | None]
) -> list[Object]:
    """Return the objects of a deployment that are no longer wanted.

    Args:
        live: what is there.
        desired: what is wanted now.
        owner: uid of the deployment; what it does not control is not touched.
        kept: revisions of workers whose objects stay though they are not desired; None stands for the objects
            that belong to no revision.
    """
    wanted = {identity(obj) for obj in desired}
    return [
        obj
        for obj in live
        if identity(obj) not in wanted
        and not is_terminating(obj)
        and is_controlled_by(obj, owner)
        and obj["metadata"]["labels"].get(names.LABEL_REVISION) not in kept
    ]


def is_controlled_by(obj: Mapping[str, Any], owner: str) -> bool:
    """Tell whether the owner with this uid controls the object."""
    references = obj["metadata"].get("ownerReferences", [])
    return any(reference.get("controller") and reference["uid"] == owner for reference in references)


def _contained(desired: Any, live: Any) -> bool:
    if isinstance(desired, Mapping):
        return isinstance(live, Mapping) and all(
            _contained(value, live[key]) if key in live else _is_zero(value) for key, value in desired.items()
        )
    if isinstance(desired, list):
        return isinstance(live, list) and _list_contained(desired, live)
    return bool(desired == live) or _same_quantity(desired, live)


def _list_contained(desired: list[Any], live: list[Any]) -> bool:
    key = _merge_key(desired)
    if key is None:
        return len(desired) == len(live) and all(
            _contained(wanted, there) for wanted, there in zip(desired, live, strict=True)
        )
    by_key = {item.get(key): item for item in live if isinstance(item, Mapping)}
    return all(item[key] in by_key and _contained(item, by_key[item[key]]) for item in desired)


def _merge_key(items: list[Any]) -> str | None:
    """Return the field by which server-side apply would tell the items apart: others may add items there."""
    if not items or not all(isinstance(item, Mapping) for item in items):
        return None
    for key in ("mountPath", "name", "uid"):
        values = {item.get(key) for item in items}
        if None not in values and len(values) == len(items):
            return key
    return None


def _is_zero(value: Any) -> bool:
    """Tell whether the API server leaves the value out when it writes it."""
    return value in (None, "", 0, False, [], {})


def _same_quantity(one: Any, other: Any) -> bool:
    """Tell whether two spellings such as ``1024Mi`` and ``1Gi`` mean the same: the API server respells."""
    first, second = quantity(one), quantity(other)
    return first is not None and first == second
