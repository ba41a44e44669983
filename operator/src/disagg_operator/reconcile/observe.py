"""What is there of a deployment, read from the caches: its objects, its pods and which are ready.

Replicas are model instances: pods of a StatefulSet, or StatefulSets where an instance is a pod group.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from disagg_operator.plan import names
from disagg_operator.plan.model import ROLES
from disagg_operator.plan.rollout.stepper import RoleObservation
from disagg_operator.reconcile.applying.diff import identity, is_terminating
from disagg_operator.reconcile.kinds import COMPUTE_DOMAIN, DEPLOYMENT, POD, STATEFUL_SET, Object

OVERDUE_SECONDS = 120.0
"""Time after a pod's own grace period from which on its node is taken to be lost."""


@dataclass(frozen=True)
class Workload:
    """Replica counts of one Deployment, or of one role's StatefulSets.

    Attributes:
        name: name of the object; of several, of one that is not ready.
        asked: replicas that it is to have.
        existing: replicas that exist.
        ready: replicas that are ready.
        settled: replicas that have been ready for the takeover's time.
        updated: replicas made from the current template.
    """

    name: str
    asked: int
    existing: int
    ready: int
    settled: int
    updated: int


@dataclass(frozen=True)
class Observed:
    """What is there of one deployment.

    Attributes:
        objects: what the operator made, by kind and name.
        pods: pods of workers and frontend.
    """

    objects: Mapping[tuple[str, str], Object]
    pods: tuple[Object, ...]

    @cached_property
    def _pods(self) -> Mapping[tuple[str, ...], list[Object]]:
        """The pods by role and revision, those that end among them."""
        return _grouped(self.pods, names.LABEL_ROLE, names.LABEL_REVISION)

    @cached_property
    def _members(self) -> Mapping[tuple[str, ...], list[Object]]:
        """The pods by role, revision and pod group, those that end among them."""
        return _grouped(self.pods, names.LABEL_ROLE, names.LABEL_REVISION, names.LABEL_GROUP)

    @cached_property
    def _revisions(self) -> dict[datetime, Mapping[str, Mapping[str, RoleObservation]]]:
        """What was told of revisions, by the time: each reconcile asks several times."""
        return {}

    @cached_property
    def _sets(self) -> Mapping[str, Mapping[str, list[Object]]]:
        """The StatefulSets by role and revision."""
        found: dict[str, dict[str, list[Object]]] = {}
        for obj in self.stateful_sets():
            of_role = found.setdefault(label(obj, names.LABEL_ROLE), {})
            of_role.setdefault(label(obj, names.LABEL_REVISION), []).append(obj)
        return found

    def workers(self, role: str) -> dict[str, Workload]:
        """Return the workloads of a role by revision, without those that are being deleted."""
        return {
            revision: _workload(live)
            for revision, found in self._by_revision(role).items()
            if (live := [obj for obj in found if not is_terminating(obj)])
        }

    def services(self) -> dict[str, Workload]:
        """Return etcd and NATS, as far as the operator runs them, by name; none that is being deleted."""
        return {
            obj["metadata"]["name"]: _workload([obj])
            for obj in self.stateful_sets()
            if label(obj, names.LABEL_ROLE) not in ROLES and not is_terminating(obj)
        }

    def pods_of_service(self, name: str) -> list[Object]:
        """Return the pods of an etcd or NATS."""
        return [
            pod for pod in self.pods if label(pod, names.LABEL_SERVICE) == name and not is_terminating(pod)
        ]

    def frontend(self) -> Workload | None:
        """Return the frontend's workload, or None where it is not there."""
        found = self.frontend_deployment()
        return None if found is None else _workload([found])

    def frontend_deployment(self) -> Object | None:
        """Return the frontend's Deployment, or None where it is not there."""
        found = (
            obj
            for (kind, _), obj in self.objects.items()
            if kind == DEPLOYMENT.kind and label(obj, names.LABEL_ROLE) == names.FRONTEND
        )
        return next(found, None)

    def revisions(self, now: datetime) -> Mapping[str, Mapping[str, RoleObservation]]:
        """Return what the rollout stepper looks at: the roles' StatefulSets and pods by revision.

        Args:
            now: the time, by which an ending pod is known to be on a lost node, and no longer waited for.
        """
        if now not in self._revisions:
            self._revisions[now] = self._observed_revisions(now)
        return self._revisions[now]

    def _observed_revisions(self, now: datetime) -> dict[str, dict[str, RoleObservation]]:
        found: dict[str, dict[str, RoleObservation]] = {}
        for role in ROLES:
            of_role = self._by_revision(role)
            for revision in self._left_of(role, now) - of_role.keys():
                left = len(self._instances(role, revision, now))
                found.setdefault(revision, {})[role] = RoleObservation(
                    0, 0, 0, lingering=left, terminating=True
                )
            for revision, objects in of_role.items():
                live = [obj for obj in objects if not is_terminating(obj)]
                workload = _workload(live or objects)
                found.setdefault(revision, {})[role] = RoleObservation(
                    workload.asked,
                    min(workload.ready, workload.asked),
                    min(workload.settled, workload.asked),
                    lingering=len(self._instances(role, revision, now) - _instances_asked(live)),
                    terminating=not live,
                )
        return found

    def _left_of(self, role: str, now: datetime) -> set[str]:
        """Return the revisions of which a role has pods: they outlive their StatefulSets for a while."""
        return {
            revision
            for found, revision in self._pods
            if found == role and revision and self.lasting(role, revision, now)
        }

    def _instances(self, role: str, revision: str, now: datetime) -> set[str]:
        """Return the numbers of the instances of which there are pods, those that end among them."""
        return {
            label(pod, names.LABEL_GROUP) or pod["metadata"]["name"].rpartition("-")[2]
            for pod in self.lasting(role, revision, now)
        }

    def groups(self) -> list[Object]:
        """Return the StatefulSets that are pod groups of several nodes, without those on their way out."""
        return [obj for obj in self.stateful_sets() if _is_group(obj) and not is_terminating(obj)]

    def pods_of(self, role: str, revision: str | None, group: str | None = None) -> list[Object]:
        """Return the pods of a role, of one revision and of one pod group of it, or (None) of any."""
        if revision is None:
            found: Iterable[Object] = (pod for pod in self.pods if label(pod, names.LABEL_ROLE) == role)
        elif group is None:
            found = self._pods.get((role, revision), ())
        else:
            found = self._members.get((role, revision, group), ())
        return [pod for pod in found if not is_terminating(pod)]

    def members(self, group: Object) -> list[Object]:
        """Return the pods of a pod group, those that end among them.

        Args:
            group: its StatefulSet.
        """
        keys = (names.LABEL_ROLE, names.LABEL_REVISION, names.LABEL_GROUP)
        role, revision, number = (label(group, key) for key in keys)
        return self._members.get((role, revision, number), [])

    def lasting(self, role: str, revision: str, now: datetime) -> list[Object]:
        """Return the pods of a role and revision, those that end among them, but none of a lost node."""
        return [pod for pod in self._pods.get((role, revision), ()) if not is_overdue(pod, now)]

    def claiming(self, template: str) -> list[Object]:
        """Return the pods, those that end among them, that hold a claim made from a template."""
        return [pod for pod in self.pods if template in templates_of(pod.get("spec", {}))]

    def domains(self) -> list[Object]:
        """Return the ComputeDomains that the operator made."""
        return [obj for (kind, _), obj in self.objects.items() if kind == COMPUTE_DOMAIN.kind]

    def stateful_sets(self) -> list[Object]:
        """Return the workers' StatefulSets, those that are being deleted among them."""
        return [obj for (kind, _), obj in self.objects.items() if kind == STATEFUL_SET.kind]

    def _by_revision(self, role: str) -> Mapping[str, list[Object]]:
        """Return the StatefulSets of a role by revision."""
        return self._sets.get(role, {})


def _grouped(objects: Iterable[Object], *keys: str) -> dict[tuple[str, ...], list[Object]]:
    """Return objects by their labels."""
    found: dict[tuple[str, ...], list[Object]] = {}
    for obj in objects:
        labels = obj["metadata"].get("labels", {})
        found.setdefault(tuple([str(labels.get(key, "")) for key in keys]), []).append(obj)
    return found


def templates_of(pod_spec: Object) -> list[str]:
    """Return the names of the claim templates that a pod's specification names."""
    claims = pod_spec.get("resourceClaims", [])
    return [claim["resourceClaimTemplateName"] for claim in claims if "resourceClaimTemplateName" in claim]


def observe(children: Iterable[Object]) -> Observed:
    """Sort the objects of one deployment."""
    objects: dict[tuple[str, str], Object] = {}
    pods = []
    for obj in children:
        if obj["kind"] == POD.kind:
            pods.append(obj)
        else:
            objects[identity(obj)] = obj
    return Observed(objects, tuple(sorted(pods, key=lambda pod: str(pod["metadata"]["name"]))))


def label(obj: Object, key: str) -> str:
    """Return a label of an object, or nothing."""
    return str(obj["metadata"].get("labels", {}).get(key, ""))


def has_node(pod: Object) -> bool:
    """Tell whether a pod was given a node."""
    return holds(pod, "PodScheduled")


def is_ready(pod: Object) -> bool:
    """Tell whether a pod is ready."""
    return holds(pod, "Ready")


def unscheduled(pod: Object) -> str | None:
    """Return why the scheduler gave a pod no node, or None where it does not say that there is none."""
    for condition in pod.get("status", {}).get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return str(condition.get("message") or condition.get("reason", ""))
    return None


def container_statuses(pod: Object) -> list[Object]:
    """Return the statuses of all containers of a pod, the init containers' first."""
    status = pod.get("status", {})
    return [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]


def has_started(pod: Object) -> bool:
    """Tell whether a container of a pod has run, so that its volumes were there."""
    states = (
        container.get(state, {})
        for container in pod.get("status", {}).get("containerStatuses", [])
        for state in ("state", "lastState")
    )
    return is_ready(pod) or any("running" in state or "terminated" in state for state in states)


def is_overdue(pod: Object, now: datetime) -> bool:
    """Tell whether a pod should long have ended. Its time of deletion includes its grace period."""
    due = pod["metadata"].get("deletionTimestamp")
    return due is not None and now > datetime.fromisoformat(due) + timedelta(seconds=OVERDUE_SECONDS)


def holds(pod: Object, kind: str) -> bool:
    """Tell whether a condition of a pod is true."""
    return any(
        condition["type"] == kind and condition["status"] == "True"
        for condition in pod.get("status", {}).get("conditions", [])
    )


def _is_group(obj: Object) -> bool:
    return label(obj, names.LABEL_GROUP) != ""


def number_of(group: Object) -> int:
    """Return the number of a pod group's StatefulSet."""
    return int(label(group, names.LABEL_GROUP))


def _instances_asked(live: Iterable[Object]) -> set[str]:
    """Return the numbers of the instances that StatefulSets of a role are to have."""
    numbers: set[str] = set()
    for obj in live:
        pods = range(obj["spec"].get("replicas", 1))
        if not _is_group(obj):
            numbers.update(map(str, pods))
        elif pods:
            numbers.add(label(obj, names.LABEL_GROUP))
    return numbers


def _workload(found: Sequence[Object]) -> Workload:
    """Return the counts of one object's pods, or of pod groups as wholes."""
    if not _is_group(found[0]):
        (obj,) = found
        status = obj.get("status", {})
        return Workload(
            name=obj["metadata"]["name"],
            asked=obj["spec"].get("replicas", 1),
            existing=status.get("replicas", 0),
            ready=status.get("readyReplicas", 0),
            settled=status.get("availableReplicas", 0),
            updated=status.get("updatedReplicas", 0),
        )
    # A group of which a rollout has taken the pods stays, so that it can be restored.
    groups = [obj for obj in found if obj["spec"]["replicas"]]
    lacking = [obj for obj in groups if not _whole("readyReplicas")(obj)]
    return Workload(
        name=(lacking or groups or found)[0]["metadata"]["name"],
        asked=len(groups),
        existing=sum(map(_whole("replicas"), groups)),
        ready=len(groups) - len(lacking),
        settled=sum(map(_whole("availableReplicas"), groups)),
        updated=sum(map(_whole("updatedReplicas"), groups)),
    )


def _whole(count: str) -> Callable[[Object], bool]:
    """Return what tells whether a count of a StatefulSet speaks of all its pods."""
    return lambda obj: obj.get("status", {}).get(count, 0) >= obj["spec"]["replicas"]
