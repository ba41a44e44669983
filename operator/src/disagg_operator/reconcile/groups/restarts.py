"""Pod groups that lost a member: a rank that died takes its instance with it, and all pods start anew.

A container of a group that ended once is the sign. Pods that are deleted take the sign with them; what is
remembered, how often and when a group was restarted, why, and which pods go, is written on its StatefulSet
first.

Invariants: pure, and nothing is remembered here. A group is restarted at once for the first time, then with
pauses of 10 s, doubling to 5 min, between two restarts; one that lasted ten minutes begins from the start. A
restart that was begun is brought to its end, and is no other one: no pod of before stays among new ones. A
group of which a pod has no node is left alone: its other pods would give up theirs. One whose leader became
ready after the last end of a container is whole again.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from disagg_operator.plan import names
from disagg_operator.reconcile.applying.diff import is_terminating
from disagg_operator.reconcile.kinds import Object
from disagg_operator.reconcile.observe import Observed, has_node, label
from disagg_operator.reconcile.pauses import LASTED, pause
from disagg_operator.reconcile.reporting.ends import ending

RESTARTS = "disagg.dev/group-restarts"
RESTARTED_AT = "disagg.dev/group-restarted-at"
RESTART_REASON = "disagg.dev/group-restart-reason"
RESTARTED_PODS = "disagg.dev/group-restarted-pods"
"""uids of the pods that the last restart takes, separated by commas."""

_LEADER = "0"


@dataclass(frozen=True)
class Restart:
    """A group that is to be started anew.

    Attributes:
        group: its StatefulSet.
        pods: its pods that are still to go.
        reason: which container ended, and how.
        number: how often it will have been restarted in a row.
        due: when it may be restarted.
        begun: whether it is noted already, and only some pods are left to delete.
    """

    group: Object
    pods: tuple[Object, ...]
    reason: str
    number: int
    due: datetime
    begun: bool = False

    def annotations(self, now: datetime) -> dict[str, str]:
        """Return what is to be remembered of it."""
        return {
            RESTARTS: str(self.number),
            RESTARTED_AT: now.astimezone(UTC).isoformat(),
            RESTART_REASON: self.reason,
            RESTARTED_PODS: ",".join(pod["metadata"]["uid"] for pod in self.pods),
        }


def restarts(observed: Observed, now: datetime) -> list[Restart]:
    """Return the groups that are to be started anew, now or once they are due."""
    return [found for group in observed.groups() if (found := _restart(observed, group, now))]


def is_taken(group: Object, pod: Object) -> bool:
    """Tell whether the last restart of a group takes a pod, or took it."""
    taken = group["metadata"].get("annotations", {}).get(RESTARTED_PODS, "")
    return pod["metadata"]["uid"] in taken.split(",")


def restarted(observed: Observed, role: str, revision: str) -> list[str]:
    """Say how often groups of a role, which are not whole yet, were started anew and why."""
    return [
        f"Pod group {label(group, names.LABEL_GROUP)} was started anew ({annotations[RESTARTS]} in a row, "
        f"last at {annotations.get(RESTARTED_AT)}), because {annotations.get(RESTART_REASON)}"
        for group in observed.groups()
        if (label(group, names.LABEL_ROLE), label(group, names.LABEL_REVISION)) == (role, revision)
        and group.get("status", {}).get("readyReplicas", 0) < group["spec"]["replicas"]
        and RESTARTS in (annotations := group["metadata"].get("annotations", {}))
    ]


def _restart(observed: Observed, group: Object, now: datetime) -> Restart | None:
    pods = [pod for pod in observed.members(group) if not is_terminating(pod)]
    annotations = group["metadata"].get("annotations", {})
    count, last = _remembered(annotations)
    taken = tuple(pod for pod in pods if is_taken(group, pod))
    if taken and last is not None:
        return Restart(group, taken, annotations.get(RESTART_REASON, ""), count, now, begun=True)
    if len(pods) < group["spec"]["replicas"] or not all(has_node(pod) for pod in pods):
        return None
    ends = sorted(_ends(pods), key=lambda end: end.at)
    if not ends or _serves_since(pods, ends[-1].at):
        return None
    if last is None or now - last > LASTED:
        return Restart(group, tuple(pods), ends[0].told, 1, now)
    return Restart(group, tuple(pods), ends[0].told, count + 1, last + pause(count))


def _remembered(annotations: Mapping[str, str]) -> tuple[int, datetime | None]:
    try:
        count, last = int(annotations[RESTARTS]), datetime.fromisoformat(annotations[RESTARTED_AT])
    except (KeyError, ValueError):
        return 0, None
    return (0, None) if last.tzinfo is None else (count, last)


@dataclass(frozen=True)
class _End:
    """An end of a container, and what is told of it."""

    at: datetime
    told: str


def _ends(pods: Iterable[Object]) -> Iterator[_End]:
    for pod in pods:
        for container in pod.get("status", {}).get("containerStatuses", []):
            for state in ("lastState", "state"):
                ended = container.get(state, {}).get("terminated")
                if ended and ended.get("finishedAt"):
                    told = f"pod {pod['metadata']['name']} ended{ending(ended)}."
                    yield _End(datetime.fromisoformat(ended["finishedAt"]), told)


def _serves_since(pods: Iterable[Object], ended: datetime) -> bool:
    return any(
        label(pod, names.LABEL_POD_INDEX) == _LEADER
        and condition["type"] == "Ready"
        and condition["status"] == "True"
        and datetime.fromisoformat(condition["lastTransitionTime"]) >= ended
        for pod in pods
        for condition in pod.get("status", {}).get("conditions", [])
    )
