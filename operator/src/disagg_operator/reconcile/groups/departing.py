"""Pod groups of which a pod is asked to end, by an eviction for one: the others are asked to end with it.

A rank cannot go alone: its session ends the whole group's, and with it the requests that the leader serves.
Asked to end as well, the leader finishes them first, while a pod that was asked before waits for its session
to end (`plan/launch`).

Invariants: pure. Only pods that were there when one was asked to end follow it, not those that take their
place while it still ends. Groups that go as a whole, by scaling, a rollout or a restart, need no help.
"""

from datetime import datetime, timedelta

from disagg_operator.reconcile.applying.diff import is_terminating
from disagg_operator.reconcile.groups.restarts import is_taken
from disagg_operator.reconcile.kinds import Object
from disagg_operator.reconcile.observe import Observed


def left_behind(observed: Observed) -> list[tuple[Object, list[Object]]]:
    """Return the groups that lose a pod, each with its pods that are to be asked to end as well."""
    # The pods of one that is scaled to nothing are all asked by its StatefulSet, one after the other.
    staying = (group for group in observed.groups() if group["spec"]["replicas"])
    found = ((group, _followers(observed, group)) for group in staying)
    return [(group, pods) for group, pods in found if pods]


def _followers(observed: Observed, group: Object) -> list[Object]:
    members = observed.members(group)
    asked = [_asked_at(pod) for pod in members if is_terminating(pod)]
    if not asked:
        return []
    return [
        pod
        for pod in members
        if not is_terminating(pod) and _created_at(pod) < max(asked) and not is_taken(group, pod)
    ]


def _asked_at(pod: Object) -> datetime:
    """Return when a pod was asked to end: its time of deletion includes its grace period."""
    metadata = pod["metadata"]
    grace = timedelta(seconds=metadata.get("deletionGracePeriodSeconds", 0))
    return datetime.fromisoformat(metadata["deletionTimestamp"]) - grace


def _created_at(pod: Object) -> datetime:
    return datetime.fromisoformat(pod["metadata"]["creationTimestamp"])
