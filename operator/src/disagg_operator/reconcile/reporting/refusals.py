"""Pods that the API server refuses to make: for a quota, Pod Security, an admission webhook. Pure.

A Deployment says so in its status, a StatefulSet in Events only. These are asked for when pods have been
lacking for a while without any being made, so that a deployment that grows costs no request.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from disagg_operator.plan import names
from disagg_operator.reconcile.applying.diff import is_terminating
from disagg_operator.reconcile.kinds import DEPLOYMENT, Object
from disagg_operator.reconcile.observe import Observed, label

REFUSAL_REASON = "FailedCreate"
"""Reason of the Events in which a StatefulSet says why a pod of its was not made."""
PATIENCE = timedelta(seconds=10)
"""Time in which Kubernetes makes a pod or says why not."""
AGAIN_SECONDS = 60.0
"""Time between two looks at what lacks pods still."""
_STALE = timedelta(minutes=20)
"""A StatefulSet tries again every 17 minutes at least: an older Event is about something that was mended."""
_LEAD = "failed error: "


@dataclass(frozen=True)
class Overdue:
    """What should have come on by now, so that Events about it are worth a look.

    Attributes:
        suspects: the objects, one of each role.
        again: seconds after which to look again, or None where nothing is lacking.
    """

    suspects: tuple[Object, ...]
    again: float | None


def shortage(observed: Observed, revision: str, now: datetime) -> Overdue:
    """Return which StatefulSets of a revision lack pods.

    Args:
        observed: what is there.
        revision: the revision that is being started or runs.
        now: the time.
    """
    suspects: dict[str, Object] = {}
    waits: list[float] = []
    for obj in observed.stateful_sets():
        if label(obj, names.LABEL_REVISION) != revision or is_terminating(obj) or not _lacks_pods(obj):
            continue
        role = label(obj, names.LABEL_ROLE)
        since = max(_made(each, now) for each in [obj, *observed.pods_of(role, revision)])
        if now - since < PATIENCE:
            waits.append((since + PATIENCE - now).total_seconds())
        else:
            suspects.setdefault(role, obj)
            waits.append(AGAIN_SECONDS)
    return Overdue(tuple(suspects.values()), min(waits, default=None))


def frontend_refusal(observed: Observed) -> dict[str, str]:
    """Return why pods of the frontend are refused, by its role; nothing where none are."""
    told = [
        str(condition.get("message", "")).rstrip(".")
        for (kind, _), obj in observed.objects.items()
        if kind == DEPLOYMENT.kind
        for condition in obj.get("status", {}).get("conditions", [])
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True"
    ]
    return {names.FRONTEND: told[0]} if told else {}


def refusal(events: Iterable[Object], now: datetime) -> str | None:
    """Return why a pod was refused last, or None where none was of late.

    Args:
        events: Events of reason FailedCreate about one StatefulSet.
        now: the time.
    """
    told = [(at, event) for event in events if now - (at := event_time(event)) < _STALE]
    if not told:
        return None
    _, latest = max(told, key=lambda each: each[0])
    return str(latest.get("note", "")).rpartition(_LEAD)[2].strip().rstrip(".")


def _lacks_pods(obj: Object) -> bool:
    return bool(obj.get("status", {}).get("replicas", 0) < obj["spec"].get("replicas", 1))


def _made(obj: Object, now: datetime) -> datetime:
    written = obj["metadata"].get("creationTimestamp")
    return now if written is None else datetime.fromisoformat(written)


def event_time(event: Object) -> datetime:
    """Return when an Event was last repeated; events.k8s.io keeps the times of older recorders apart."""
    series = event.get("series") or {}
    written = series.get("lastObservedTime") or event.get("deprecatedLastTimestamp") or event.get("eventTime")
    return datetime.fromisoformat(written or event["metadata"]["creationTimestamp"])
