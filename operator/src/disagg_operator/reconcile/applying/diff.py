"""What has to be written and what has to go, by comparing what is desired with what is there.

Invariants: pure; an object is written only where its desired content is another one than was applied last, or
where somebody changed a field of ours. Fields of others (defaults, other field managers) are left alone, as
server-side apply leaves them. What the API server itself stores otherwise, by a feature gate or a webhook, is
noted on the object, and not written again and again.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
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


def applied_hash(obj: Object) -> str | None:
    """Return the hash of what was applied last, as an object carries it."""
    found: str | None = obj["metadata"].get("annotations", {}).get(names.ANNOTATION_APPLIED_HASH)
    return found


@dataclass(frozen=True)
class Difference:
    """A field that is not as it is desired.

    Attributes:
        path: the field; entries of lists by their key, such as ``spec.ports[http].port``.
        wanted: its desired value.
        found: its value, or MISSING.
    """

    path: str
    wanted: Any
    found: Any


MISSING = object()
"""Stands for the value of a field that is not there."""


def must_apply(desired: Object, live: Object | None) -> bool:
    """Tell whether a stamped object has to be written.

    Args:
        desired: the object with its hash.
        live: the object as last seen, or None.
    """
    return live is None or any(True for _ in drift(desired, live))


def drift(desired: Object, live: Object) -> Iterator[Difference]:
    """Yield the differences that a write would mend: not those that the API server would make again."""
    known = stored_otherwise(live)
    for each in differences(desired, live):
        if known.get(each.path, "") != value_digest(each.found):
            yield each


def stored_otherwise(live: Object) -> dict[str, str | None]:
    """Return what the API server stored otherwise than it was applied: digests of its values, by path."""
    text = live["metadata"].get("annotations", {}).get(names.ANNOTATION_STORED_OTHERWISE)
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def value_digest(value: Any) -> str | None:
    """Return a short text that stands for a value, or None for MISSING."""
    return None if value is MISSING else names.digest(json.dumps(value, sort_keys=True))


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


def differences(desired: Any, live: Any, path: str = "") -> Iterator[Difference]:
    """Yield where an object is not as desired. What it has besides is left alone."""
    # Most of an object is as it is desired: what is equal is not looked into.
    if desired == live:
        return
    if isinstance(desired, Mapping) and isinstance(live, Mapping):
        for key, value in desired.items():
            there = live.get(key, MISSING)
            if there is MISSING:
                if not _is_zero(value):
                    yield Difference(_within(path, key), value, MISSING)
            elif there != value:
                yield from differences(value, there, _within(path, key))
    elif isinstance(desired, list) and isinstance(live, list):
        yield from _list_differences(desired, live, path)
    elif not _same_quantity(desired, live):
        yield Difference(path, desired, live)


def _within(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _list_differences(desired: list[Any], live: list[Any], path: str) -> Iterator[Difference]:
    key = _merge_key(desired)
    if key is not None:
        by_key = {item.get(key): item for item in live if isinstance(item, Mapping)}
        for item in desired:
            place = f"{path}[{item[key]}]"
            if item[key] in by_key:
                yield from differences(item, by_key[item[key]], place)
            else:
                yield Difference(place, item, MISSING)
    elif len(desired) != len(live):
        yield Difference(path, desired, live)
    else:
        for index, (wanted, there) in enumerate(zip(desired, live, strict=True)):
            yield from differences(wanted, there, f"{path}[{index}]")


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
