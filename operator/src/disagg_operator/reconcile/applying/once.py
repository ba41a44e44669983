"""Objects that are made once and never read: keys, and what schedules the pods of groups all or none.

Nobody looks whether such an object is there. It is offered while it may be lacking, and one that exists is
left as it is; so the operator needs no right but to create it. Each goes with an owner that lives as long as
the pods that use it, or with the deployment.
"""

from collections.abc import Container, Mapping

from disagg_operator.plan import names
from disagg_operator.plan.model import Plan
from disagg_operator.reconcile.applying import request_keys, ssh_keys
from disagg_operator.reconcile.applying.diff import is_terminating
from disagg_operator.reconcile.kinds import CONFIG_MAP, GANGS, SECRET, STATEFUL_SET, Object, kind_of
from disagg_operator.reconcile.observe import Observed, has_node, label


def is_made_once(obj: Object) -> bool:
    """Tell whether an object is of a kind that is made once."""
    return kind_of(obj) in (SECRET, *GANGS)


def owner_of(obj: Object, there: Mapping[tuple[str, str], Object]) -> Object | None:
    """Return what an object goes with; None where that is the deployment itself.

    A group's key goes with the ConfigMap of its workers, which outlives the pods of its revision; what
    schedules a pod group goes with the group.

    Args:
        obj: the object.
        there: what is there, by kind and name.
    """
    if _is_request_key(obj):
        return None
    if kind_of(obj) != SECRET:
        return there[STATEFUL_SET.kind, obj["metadata"]["name"]]
    # Older versions made one for each role.
    roles = (names.WORKER, label(obj, names.LABEL_ROLE))
    return next(
        each
        for (kind, _), each in there.items()
        if kind == CONFIG_MAP.kind
        and label(each, names.LABEL_REVISION) == label(obj, names.LABEL_REVISION)
        and label(each, names.LABEL_ROLE) in roles
    )


def may_lack(obj: Object, observed: Observed, applied: Container[tuple[str, str]]) -> bool:
    """Tell whether an object may be missing.

    Args:
        obj: the object.
        observed: what is there.
        applied: what is about to be written.
    """
    if _is_request_key(obj):
        return request_keys.may_lack(observed)
    if kind_of(obj) == SECRET:
        return ssh_keys.may_lack(obj, observed)
    group = (STATEFUL_SET.kind, obj["metadata"]["name"])
    live = observed.objects.get(group)
    if live is None or is_terminating(live):
        return group in applied
    pods = observed.pods_of(
        *(label(obj, key) for key in (names.LABEL_ROLE, names.LABEL_REVISION, names.LABEL_GROUP))
    )
    # Without it, no pod of the group gets a node; pods that have one need it no more.
    return sum(map(has_node, pods)) < int(live["spec"]["replicas"])


def is_key_awaited(plan: Plan | None, observed: Observed) -> bool:
    """Tell whether a pod waits that may wait for a key, so that one is to be offered again."""
    return ssh_keys.is_awaited(observed) or request_keys.is_awaited(plan, observed)


def made_for(obj: Object, owner: Object | None) -> Object:
    """Return the object as it is to be created, so that it goes when its owner does.

    Args:
        obj: the object.
        owner: what it goes with; None where it says that already.
    """
    if owner is None:
        return request_keys.with_new_key(obj)
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
    }
    owned = {**obj, "metadata": {**obj["metadata"], "ownerReferences": [reference]}}
    return ssh_keys.with_new_key(owned) if kind_of(obj) == SECRET else owned


def _is_request_key(obj: Object) -> bool:
    """Tell whether an object is the key of a deployment's requests, which belongs to no revision."""
    return kind_of(obj) == SECRET and not label(obj, names.LABEL_REVISION)
