"""Volumes, Secrets and ConfigMaps that pods refer to and that are not there, or are bound to nothing. Pure.

They are not asked for: who may read a Secret by its name may read its text. Pods that wait for them say so
themselves, by the scheduler in a condition, by the kubelet in the state of a container, and of what is to be
mounted in Events only, which are looked up once a pod has had nothing started for a while.

Invariant: only what the specification names is told to be missing. What the operator makes is on its way.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from disagg_operator.plan import names
from disagg_operator.plan.model import ROLES
from disagg_operator.reconcile.applying.diff import is_terminating
from disagg_operator.reconcile.kinds import Object
from disagg_operator.reconcile.observe import (
    Observed,
    container_statuses,
    has_node,
    holds,
    is_ready,
    label,
    unscheduled,
)
from disagg_operator.reconcile.preflight.fault import Assessment, Check, Fault
from disagg_operator.reconcile.reporting.refusals import AGAIN_SECONDS, PATIENCE, Overdue, event_time

MOUNT_REASON = "FailedMount"
"""Reason of the Events in which the kubelet says what it cannot mount."""

_STALE = timedelta(minutes=5)
"""The kubelet tries again every two minutes at least: an older Event is about something that was mended."""
_NOT_FOUND = re.compile(r'(persistentvolumeclaim|secret|configmap) "([^"\s]+)" not found', re.IGNORECASE)
UNBOUND = "pod has unbound immediate PersistentVolumeClaims"
"""What the scheduler says of pods whose claims are there and have no volume."""
_NO_KEY = re.compile(r"couldn't find key (\S+) in (Secret|ConfigMap) [^/\s]+/([^\s,]*[^\s,.])")


@dataclass(frozen=True)
class _Sort:
    """A kind of object that pods refer to.

    Attributes:
        kind: name of the kind.
        check: the check that fails where it is missing.
        fields: fields that hold its name, each by itself or below another.
    """

    kind: str
    check: Check
    fields: tuple[tuple[str, ...], ...]


_SORTS = {
    each.kind.lower(): each
    for each in (
        _Sort("PersistentVolumeClaim", Check.VOLUME_MISSING, (("claimName",),)),
        _Sort(
            "Secret",
            Check.SECRET_MISSING,
            (
                ("secretName",),
                *((parent, "name") for parent in ("secretKeyRef", "secretRef", "tokenSecretRef", "secret")),
            ),
        ),
        _Sort(
            "ConfigMap",
            Check.CONFIG_MAP_MISSING,
            tuple((parent, "name") for parent in ("configMapKeyRef", "configMapRef", "configMap")),
        ),
    )
}


@dataclass(frozen=True)
class Missing:
    """An object, or a key of one, that is not there.

    Attributes:
        kind: name of its kind.
        name: its name.
        key: the key that it lacks, or nothing where it is missing as a whole.
    """

    kind: str
    name: str
    key: str = ""

    def told(self, namespace: str) -> str:
        """Say what is missing where, and what to do."""
        if self.key:
            what = f"{self.kind} {self.name} in namespace {namespace} has no key {self.key}."
            return f"{what} Add it, or correct the field that names it."
        what = f"Namespace {namespace} has no {self.kind} {self.name}."
        return f"{what} Create it, or correct the field that names it."


def missing_in(text: str) -> Missing | None:
    """Return what the scheduler or a kubelet says to be missing, or None where it is something else."""
    found = _NOT_FOUND.search(text)
    if found is not None:
        return Missing(_SORTS[found[1].lower()].kind, found[2])
    found = _NO_KEY.search(text)
    return None if found is None else Missing(found[2], found[3], found[1])


def unmounted(observed: Observed, now: datetime) -> Overdue:
    """Return pods whose volumes are not mounted though they have had a node for a while: one of each role.

    Args:
        observed: what is there.
        now: the time.
    """
    suspects: dict[tuple[str, str], Object] = {}
    waits: list[float] = []
    for pod in _waiting(observed):
        if _is_unbound(pod) and (left := _scheduled(pod, now) + PATIENCE - now) > timedelta():
            waits.append(left.total_seconds())
        if not has_node(pod) or _is_mounted(pod):
            continue
        due = _scheduled(pod, now) + PATIENCE
        if due > now:
            waits.append((due - now).total_seconds())
        else:
            suspects.setdefault((label(pod, names.LABEL_ROLE), label(pod, names.LABEL_REVISION)), pod)
            waits.append(AGAIN_SECONDS)
    return Overdue(tuple(suspects.values()), min(waits, default=None))


def with_missing(
    found: Assessment, resource: Object, observed: Observed, events: Iterable[Object], now: datetime
) -> Assessment:
    """Return what preflight found, and what of the specification's objects pods wait for.

    Args:
        found: what preflight found.
        resource: the DisaggDeployment.
        observed: what is there.
        events: Events about pods whose volumes are not mounted.
        now: the time.
    """
    texts = [text for pod in _waiting(observed) for text in _texts(pod)]
    texts += [str(event.get("note", "")) for event in events if now - event_time(event) < _STALE]
    missing = dict.fromkeys(each for text in texts if (each := missing_in(text)) is not None)
    namespace = resource["metadata"]["namespace"]
    faults = [
        Fault(_SORTS[each.kind.lower()].check, f"{each.told(namespace)} {_look(each, namespace)}", where)
        for each in missing
        if (where := ", ".join(naming(resource.get("spec", {}), each)))
    ]
    faults += _unbound(resource, observed, now)
    return replace(found, faults=(*found.faults, *faults)) if faults else found


def _unbound(resource: Object, observed: Observed, now: datetime) -> Iterator[Fault]:
    """Yield the claims of the specification of which pods have waited for a volume for a while.

    The scheduler names no claim: all are named that the roles of these pods may use.
    """
    namespace = resource["metadata"]["namespace"]
    waiting = [
        label(pod, names.LABEL_ROLE)
        for pod in _waiting(observed)
        if _is_unbound(pod) and _scheduled(pod, now) + PATIENCE <= now
    ]
    if not waiting:
        return
    others = tuple(f"spec.{role}." for role in (*ROLES, names.FRONTEND) if role not in waiting)
    claims: dict[str, list[str]] = {}
    for path, keys, value in _leaves(resource.get("spec", {}), "spec", ()):
        if keys[-1:] == ("claimName",) and not path.startswith(others):
            claims.setdefault(str(value), []).append(path)
    if claims:
        each = " or ".join(claims)
        message = (
            f"PersistentVolumeClaim {each} in namespace {namespace} is bound to no volume ({UNBOUND}). Give "
            "it a StorageClass that makes volumes, or a PersistentVolume that fits. See: kubectl describe "
            f"persistentvolumeclaims {' '.join(claims)} --namespace {namespace}"
        )
        where = ", ".join(path for paths in claims.values() for path in paths)
        yield Fault(Check.VOLUME_NOT_BOUND, message, where)


def _is_unbound(pod: Object) -> bool:
    """Tell whether a pod has no node because a claim of its has no volume."""
    return UNBOUND in (unscheduled(pod) or "")


def naming(spec: Mapping[str, Any], missing: Missing) -> Iterator[str]:
    """Yield the fields of a specification that name an object."""
    wanted = _SORTS[missing.kind.lower()].fields
    for path, keys, value in _leaves(spec, "spec", ()):
        if value == missing.name and any(keys[-len(field) :] == field for field in wanted):
            yield path


def _leaves(part: Any, path: str, keys: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    """Yield the path of each value, the names of the fields on the way to it, and the value."""
    if isinstance(part, Mapping):
        for key, value in part.items():
            yield from _leaves(value, f"{path}.{key}", (*keys, str(key)))
    elif isinstance(part, list):
        for index, value in enumerate(part):
            name = value.get("name", index) if isinstance(value, Mapping) else index
            yield from _leaves(value, f"{path}[{name}]", keys)
    else:
        yield path, keys, part


def _look(missing: Missing, namespace: str) -> str:
    return f"See: kubectl get {missing.kind.lower()} --namespace {namespace}"


def _waiting(observed: Observed) -> Iterator[Object]:
    return (pod for pod in observed.pods if not (is_terminating(pod) or is_ready(pod)))


def _texts(pod: Object) -> Iterator[str]:
    """Yield what keeps a pod from starting, as its status tells."""
    yield unscheduled(pod) or ""
    for container in container_statuses(pod):
        yield str(container.get("state", {}).get("waiting", {}).get("message", ""))


def _is_mounted(pod: Object) -> bool:
    """Tell whether a pod got so far that its volumes are mounted: what comes next is its network."""
    ran = any("waiting" not in each.get("state", {"waiting": {}}) for each in container_statuses(pod))
    return ran or any(holds(pod, kind) for kind in ("PodReadyToStartContainers", "ContainersReady"))


def _scheduled(pod: Object, now: datetime) -> datetime:
    """Return when a pod got its node, or was told that there is none, as far as it tells."""
    conditions = {each["type"]: each for each in pod["status"]["conditions"]}
    told = conditions["PodScheduled"].get("lastTransitionTime") or pod["metadata"].get("creationTimestamp")
    return now if told is None else datetime.fromisoformat(told)
