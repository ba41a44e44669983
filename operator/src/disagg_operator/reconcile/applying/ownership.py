"""Whose an object is. Pure.

Labels say to which deployment an object belongs, and anybody may write labels. What counts is who controls
it: an object is a deployment's if the deployment with this uid is its controller, a pod if such an object is.

Invariants: what is somebody else's is neither counted nor asked, changed or deleted. What is on its way out
counts as it is labelled: it may be of a namesake before, and is waited for.
"""

from collections.abc import Iterable, Mapping

from disagg_operator.plan import names
from disagg_operator.reconcile.applying.diff import is_controlled_by, is_terminating
from disagg_operator.reconcile.errors import RetrySoonError, TakenError
from disagg_operator.reconcile.kinds import (
    COMPUTE_DOMAIN,
    JOB,
    POD,
    STATEFUL_SET,
    Key,
    Object,
    describe,
)

_REPLICA_SET = "ReplicaSet"
_MAKE_PODS = (STATEFUL_SET.kind, JOB.kind, _REPLICA_SET)
_CONFLICT = 409


def owned(children: Iterable[Object], key: Key, owner: str) -> list[Object]:
    """Return those objects and pods that are a deployment's.

    Args:
        children: what carries its label.
        key: the deployment.
        owner: its uid.
    """
    labelled = list(children)
    ours = [obj for obj in labelled if obj["kind"] != POD.kind and _is_owned(obj, owner)]
    makers = {(obj["kind"], obj["metadata"]["name"]): obj["metadata"]["uid"] for obj in ours}
    strangers = {
        (obj["kind"], obj["metadata"]["name"]) for obj in labelled if obj["kind"] in _MAKE_PODS
    } - makers.keys()
    return ours + [
        obj
        for obj in labelled
        if obj["kind"] == POD.kind and (is_terminating(obj) or _is_made_by(obj, makers, strangers, key))
    ]


def _is_owned(obj: Object, owner: str) -> bool:
    # A ComputeDomain outlives its deployment, so that it has no owner; its keeper knows its own.
    return obj["kind"] == COMPUTE_DOMAIN.kind or is_terminating(obj) or is_controlled_by(obj, owner)


def _is_made_by(
    pod: Object, makers: Mapping[tuple[str, str], str], strangers: Iterable[tuple[str, str]], key: Key
) -> bool:
    maker = controller(pod)
    if maker is None or maker["kind"] not in _MAKE_PODS:
        return False
    place = (maker["kind"], maker["name"])
    if place in makers:
        return bool(makers[place] == maker["uid"])
    # ReplicaSets are not read, and another cache may lag behind that of pods.
    return place not in strangers and str(maker["name"]).startswith(_beginning(maker["kind"], key))


def _beginning(kind: str, key: Key) -> str:
    return f"{names.frontend(key.name)}-" if kind == _REPLICA_SET else f"{names.base(key.name)}-"


def _shown_by(obj: Object) -> list[str | None]:
    """Return the labels by which the cache finds an object."""
    labels = obj["metadata"].get("labels", {})
    return [labels.get(key) for key in (names.LABEL_MANAGED_BY, names.LABEL_DEPLOYMENT)]


def controller(obj: Mapping[str, object]) -> Object | None:
    """Return the reference to what controls an object, or None."""
    metadata = obj["metadata"]
    references = metadata.get("ownerReferences", []) if isinstance(metadata, Mapping) else []
    return next((each for each in references if each.get("controller")), None)


def refuse_taken(obj: Object, found: Object | None) -> None:
    """Pass if an object may be applied over the one that was found in its place.

    Args:
        obj: the object.
        found: what there is of its name; None if that has gone again.

    Raises:
        TakenError: it is somebody else's.
        RetrySoonError: it is on its way out; or it is ours, and what was decided on knew nothing of it.
    """
    if found is None:
        return
    if is_terminating(found):
        raise RetrySoonError(f"{describe(obj)} waits for its namesake to be gone")
    own, other = controller(obj), controller(found)
    if own is not None and other is not None and own["uid"] == other["uid"]:
        if _shown_by(found) == _shown_by(obj):
            # Written by whoever led before, or by a request whose answer was lost: the watch will show it.
            raise RetrySoonError(f"{describe(obj)} is there, and the cache does not show it yet")
        return
    whose = "nobody's" if other is None else f"of {other['kind']} {other['name']} (uid {other['uid']})"
    raise TakenError(
        _CONFLICT,
        "AlreadyExists",
        "there is one of this name already, which this DisaggDeployment did not make: it is "
        f"{whose}. It is left as it is. Delete or rename it, or give the DisaggDeployment another name.",
    )
