"""What is there of a deployment, read from the caches: its objects, its pods and which are ready."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from disagg_operator.plan import names
from disagg_operator.plan.model import ROLES
from disagg_operator.plan.rollout import RoleObservation
from disagg_operator.reconcile.diff import identity, is_terminating
from disagg_operator.reconcile.kinds import COMPUTE_DOMAIN, DEPLOYMENT, POD, STATEFUL_SET, Object


@dataclass(frozen=True)
class Workload:
    """Replica counts of one StatefulSet or Deployment.

    Attributes:
        name: name of the object.
        asked: replicas that it is to have.
        existing: replicas that exist.
        ready: replicas that are ready.
        settled: replicas that have been ready for the takeover's time.
        updated: replicas made from its current template.
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

    def workers(self, role: str) -> dict[str, Workload]:
        """Return the workloads of a role by revision, without those that are being deleted."""
        return {
            _label(obj, names.LABEL_REVISION): _workload(obj)
            for obj in self.stateful_sets()
            if _label(obj, names.LABEL_ROLE) == role and not is_terminating(obj)
        }

    def frontend(self) -> Workload | None:
        """Return the frontend's workload, or None where it is not there."""
        found = [
            obj
            for (kind, _), obj in self.objects.items()
            if kind == DEPLOYMENT.kind and _label(obj, names.LABEL_ROLE) == names.FRONTEND
        ]
        return _workload(found[0]) if found else None

    def revisions(self) -> dict[str, dict[str, RoleObservation]]:
        """Return what the rollout stepper looks at: the roles' StatefulSets by revision."""
        found: dict[str, dict[str, RoleObservation]] = {}
        for obj in self.stateful_sets():
            role = _label(obj, names.LABEL_ROLE)
            if role in ROLES:
                workload = _workload(obj)
                found.setdefault(_label(obj, names.LABEL_REVISION), {})[role] = RoleObservation(
                    workload.asked, workload.ready, workload.settled, is_terminating(obj)
                )
        return found

    def pods_of(self, role: str, revision: str | None) -> list[Object]:
        """Return the pods of a role, of one revision or (None) of any."""
        return [
            pod
            for pod in self.pods
            if _label(pod, names.LABEL_ROLE) == role
            and revision in (None, _label(pod, names.LABEL_REVISION))
            and not is_terminating(pod)
        ]

    def claiming(self, template: str) -> list[Object]:
        """Return the pods, those that end among them, that hold a claim made from a template."""
        return [pod for pod in self.pods if template in templates_of(pod.get("spec", {}))]

    def domains(self) -> list[Object]:
        """Return the ComputeDomains that the operator made."""
        return [obj for (kind, _), obj in self.objects.items() if kind == COMPUTE_DOMAIN.kind]

    def stateful_sets(self) -> list[Object]:
        """Return the workers' StatefulSets, those that are being deleted among them."""
        return [obj for (kind, _), obj in self.objects.items() if kind == STATEFUL_SET.kind]


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


def _label(obj: Object, key: str) -> str:
    return str(obj["metadata"].get("labels", {}).get(key, ""))


def _workload(obj: Object) -> Workload:
    status = obj.get("status", {})
    return Workload(
        name=obj["metadata"]["name"],
        asked=obj["spec"].get("replicas", 1),
        existing=status.get("replicas", 0),
        ready=status.get("readyReplicas", 0),
        settled=status.get("availableReplicas", 0),
        updated=status.get("updatedReplicas", 0),
    )
