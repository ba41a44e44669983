"""A FAKE cluster in memory, for tests of reconciling only. The real API server is tried in tests/integration.

It knows server-side apply well enough for one field manager, resource versions, uids, generations and
finalizers, and plays the garbage collector and the controllers of StatefulSets and Deployments on demand. It
has one large node. `FakeDriver` plays NVIDIA's controller of ComputeDomains as it was seen to behave; the
real one is tried in tests/integration/platforms.
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from typing import Any

from disagg_operator.plan import names
from disagg_operator.plan.model import Plan
from disagg_operator.reconcile.applying.ownership import refuse_taken
from disagg_operator.reconcile.computedomain.departure import FINALIZER
from disagg_operator.reconcile.computedomain.standing import UID_LABEL, DomainSeen
from disagg_operator.reconcile.errors import ClusterError, NotFoundError
from disagg_operator.reconcile.kinds import COMPUTE_DOMAIN, Key, Kind, Object
from disagg_operator.reconcile.preflight.checks import assess
from disagg_operator.reconcile.preflight.fault import Assessment
from disagg_operator.reconcile.preflight.needs import WORKER_METADATA, needs_of
from disagg_operator.reconcile.preflight.snapshot import ClusterSnapshot, Node, Offer
from disagg_operator.reconcile.verification.verifier import (
    VerificationAsked,
    VerificationResult,
    VerificationState,
)

Address = tuple[str, str]
MADE = "2026-01-01T00:00:00Z"
"""When everything was made."""


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


ROOMY = Node(
    name="large",
    labels={},
    offer=Offer({"cpu": Decimal(1000), "memory": Decimal(2**42)}, taints=(), cordoned=False, ready=True),
)
SURROUNDINGS = ClusterSnapshot((ROOMY,), "", frozenset(), {WORKER_METADATA: True})


class Crash(BaseException):
    """The operator process dies here."""


def deployment(name: str = "demo", **spec: Any) -> Object:
    """Return a DisaggDeployment as the API server has it."""
    model = {"name": "m", "source": {"runtimeImage": {"path": "/models/m"}}}
    return {
        "apiVersion": "disagg.dev/v1alpha1",
        "kind": "DisaggDeployment",
        "metadata": {
            "name": name,
            "namespace": "ns",
            "uid": f"uid-of-{name}",
            "generation": 1,
            "resourceVersion": "1",
        },
        # Edits must not reach what other tests pass.
        "spec": {
            "model": model,
            "platform": "local",
            "runtime": {"engine": "reference"},
            **copy.deepcopy(spec),
        },
    }


def controlled_by(obj: Object) -> Object:
    """Return the reference of what an object controls."""
    metadata = obj["metadata"]
    return {"kind": obj["kind"], "name": metadata["name"], "uid": metadata["uid"], "controller": True}


def maker_of_pods(obj: Object) -> Object:
    """Return the reference of what makes the pods of an object; a Deployment has ReplicaSets do it."""
    reference = controlled_by(obj)
    if obj["kind"] != "Deployment":
        return reference
    return {**reference, "kind": "ReplicaSet", "name": f"{reference['name']}-5c8f", "uid": "of-replica-set"}


@dataclass
class FakeDriver:
    """SIMULATED: NVIDIA's controller of ComputeDomains, version 0.4.1.

    Attributes:
        served: whether its CRD is there.
        readable: whether the operator has rights on ComputeDomains.
        running: whether its controller runs.
        num_nodes_required: whether its CRD requires numNodes, as that of version 25.3.
        domains: ComputeDomains that the operator did not make, by name.
        templates: claim templates by name.
        asked: how often the schema was read.
    """

    served: bool = True
    readable: bool = True
    running: bool = True
    num_nodes_required: bool = False
    domains: dict[str, Object] = field(default_factory=dict)
    templates: dict[str, Object] = field(default_factory=dict)
    asked: int = 0

    def work(self, objects: dict[Address, Object]) -> None:
        """Make templates of domains, and take domains away that are being deleted, whoever uses them."""
        if not (self.served and self.running):
            return
        mine = [obj for (kind, _), obj in objects.items() if kind == "ComputeDomain"]
        for domain in (*self.domains.values(), *mine):
            metadata = domain["metadata"]
            name = domain["spec"]["channel"]["resourceClaimTemplate"]["name"]
            if "deletionTimestamp" in metadata:
                self.templates = {
                    key: template
                    for key, template in self.templates.items()
                    if template["metadata"]["labels"].get(UID_LABEL) != metadata["uid"]
                }
                objects.pop(("ComputeDomain", metadata["name"]), None)
            else:
                # A template of that name stays as it is, whoever it belongs to.
                made = {"metadata": {"name": name, "labels": {UID_LABEL: metadata["uid"]}}}
                self.templates.setdefault(name, made)


@dataclass
class FakeVerifier:
    """SIMULATED: a verifier that answers what a test gives it.

    Attributes:
        result: what it has found, or None while it measures.
        asked: the questions, one for each round.
        forgotten: how often a deployment was to be measured no more.
    """

    result: VerificationResult | None = None
    asked: list[VerificationAsked] = field(default_factory=list)
    forgotten: int = 0

    def want(self, key: Key, asked: VerificationAsked) -> VerificationState:
        assert key == Key(asked.namespace, asked.name)
        if not self.asked or self.asked[-1].round != asked.round:
            self.asked.append(asked)
        return (
            VerificationState("counting", None) if self.result is None else VerificationState("", self.result)
        )

    def forget(self, key: Key) -> None:  # noqa: ARG002
        self.forgotten += 1


@dataclass
class FakeCluster:
    """One namespace with one DisaggDeployment and what is made for it.

    Attributes:
        resource: the DisaggDeployment, or None once it is deleted.
        objects: children by kind and name, as the caches show them.
        secrets: what was created and no cache shows.
        writes: every write, as verb and object.
        healthy: whether pods of a StatefulSet or Deployment of this name become ready.
        rolled_out: whether frontends of the newest template take the place of older ones.
        before_write: is called with verb and object before each write; may raise.
        after_write: is called after each write took effect; may raise.
        surroundings: what the cluster says of itself.
        failures: Events about each StatefulSet, and about each pod.
        logs: the last line of each pod's log, by its name.
        driver: NVIDIA's controller of ComputeDomains.
        verifier: what measures the transport.
        lingering: whether pods whose StatefulSet is deleted do not end yet.
        with_pods: whether StatefulSets have pods that hold no claims, too.
        looked: deployments that are reconciled when a ComputeDomain changes.
        grace_seconds: that each deleted object got to end, by its name; None for its own.
        unseen: what the caches do not show yet.
        vanished: what the caches have seen go, and was not on its way out.
        stored_as: is what the API server makes of what is applied.
    """

    resource: Object | None
    objects: dict[Address, Object] = field(default_factory=dict)
    secrets: dict[Address, Object] = field(default_factory=dict)
    writes: list[tuple[str, str]] = field(default_factory=list)
    healthy: Callable[[str], bool] = lambda _: True
    rolled_out: Callable[[], bool] = lambda: True
    before_write: Callable[[str, Object], None] = lambda *_: None
    after_write: Callable[[str, Object], None] = lambda *_: None
    surroundings: ClusterSnapshot = SURROUNDINGS
    failures: list[Object] = field(default_factory=list)
    logs: dict[str, str] = field(default_factory=dict)
    driver: FakeDriver = field(default_factory=FakeDriver)
    verifier: FakeVerifier = field(default_factory=FakeVerifier)
    lingering: bool = False
    with_pods: bool = False
    looked: set[Key] = field(default_factory=set)
    grace_seconds: dict[str, int | None] = field(default_factory=dict)
    unseen: set[Address] = field(default_factory=set)
    vanished: set[Address] = field(default_factory=set)
    stored_as: Callable[[Object], Object] = lambda obj: obj
    _version: int = 1

    @contextmanager
    def dying(self, write: int | None, *, effective: bool = True) -> Iterator[None]:
        """Let the operator die at one write of the block.

        Args:
            write: number of the write, from 0; None for none.
            effective: whether the write takes effect.
        """
        hook = "after_write" if effective else "before_write"
        numbers, before = count(), getattr(self, hook)

        def die(*_: object) -> None:
            if next(numbers) == write:
                raise Crash

        setattr(self, hook, die)
        try:
            yield
        finally:
            setattr(self, hook, before)

    @property
    def key(self) -> Key:
        return Key("ns", "demo")

    async def get_deployment(self, key: Key) -> Object | None:
        assert key == self.key
        return copy.deepcopy(self.resource)

    def of(self, key: Key) -> Iterator[Object]:
        for address, obj in self.objects.items():
            if address in self.unseen:
                continue
            if obj["metadata"]["labels"].get(names.LABEL_DEPLOYMENT) == key.name:
                yield copy.deepcopy(obj)

    def lost(self, key: Key) -> frozenset[Address]:
        assert key == self.key
        found, self.vanished = frozenset(self.vanished), set()
        return found

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        assert namespace == self.key.namespace
        assert self.driver.readable, "forbidden"
        found = self._domain(name) if kind == COMPUTE_DOMAIN and self.driver.served else None
        if found is None:
            raise NotFoundError(404, "NotFound", f"there is no {kind.kind} {name}")
        return copy.deepcopy(found)

    def find(self, namespace: str, name: str) -> Object | None:
        assert namespace == self.key.namespace
        return None if ("ComputeDomain", name) in self.unseen else self._domain(name)

    def _domain(self, name: str) -> Object | None:
        return self.objects.get(("ComputeDomain", name)) or self.driver.domains.get(name)

    def look(self, key: Key, name: str, template: str) -> DomainSeen:
        self.looked.add(key)
        if not (self.driver.readable and self.driver.served):
            return DomainSeen(self.driver.readable, served=False)
        made = self.driver.templates.get(template)
        rival = made["metadata"]["labels"].get(UID_LABEL) if made else None
        everybody = (*self.driver.domains.values(), *self.objects.values())
        rivals = [obj["metadata"]["name"] for obj in everybody if obj["metadata"]["uid"] == rival]
        return DomainSeen(domain=self.find(key.namespace, name), template=made, rival=next(iter(rivals), ""))

    def ignore(self, key: Key) -> None:
        self.looked.discard(key)

    async def num_nodes_required(self) -> bool:
        if not self.driver.served:
            return False
        self.driver.asked += 1
        return self.driver.num_nodes_required

    async def set_finalizer(self, resource: Object, finalizer: str | None) -> None:
        assert self.driver.readable, "forbidden"
        self._writing("finalizer", resource)
        if self.resource and self.resource["metadata"]["uid"] == resource["metadata"]["uid"]:
            metadata = self.resource["metadata"]
            others = [each for each in metadata.get("finalizers", []) if each != FINALIZER]
            metadata["finalizers"] = [*others, *([finalizer] if finalizer else [])]
            if "deletionTimestamp" in metadata and not metadata["finalizers"]:
                self.resource = None
        self.after_write("finalizer", resource)

    async def apply(self, obj: Object, *, new: bool = False) -> Object:
        address = (obj["kind"], obj["metadata"]["name"])
        if new:
            refuse_taken(obj, self.objects.get(address))
        self._writing("apply", obj)
        old = self.objects.get(address)
        if old and old.get("roleRef") != obj.get("roleRef"):
            raise refusal(422, "roleRef is immutable")
        stored = self.stored_as(copy.deepcopy(obj))
        if obj["kind"] == "DisaggScaler":
            assert old, "made by a create, since an apply would own the count"
            stored["spec"] = copy.deepcopy(old["spec"])
        old_metadata = old["metadata"] if old else {}
        changed = old is None or old.get("spec") != _defaulted(stored).get("spec")
        stored = _defaulted(stored)
        stored["metadata"] |= {
            "uid": old_metadata.get("uid", f"uid-{self._next()}"),
            "creationTimestamp": old_metadata.get("creationTimestamp", MADE),
            "resourceVersion": str(self._next()),
            "generation": old_metadata.get("generation", 0) + changed,
        }
        if "deletionTimestamp" in old_metadata:
            stored["metadata"]["deletionTimestamp"] = old_metadata["deletionTimestamp"]
        # What another request than an apply has set is nobody's to remove by an apply.
        kept = {**old_metadata.get("annotations", {}), **stored["metadata"].get("annotations", {})}
        stored["metadata"]["annotations"] = kept
        if old and "status" in old:
            stored["status"] = old["status"]
        self.objects[address] = stored
        self.after_write("apply", obj)
        return copy.deepcopy(stored)

    async def create_once(self, obj: Object) -> bool:
        address = (obj["kind"], obj["metadata"]["name"])
        if address in self.secrets or address in self.objects:
            return False
        self._writing("create", obj)
        if obj["kind"] in ("Secret", "PodGroup"):
            self.secrets[address] = copy.deepcopy(obj)
        else:
            version = str(self._next())
            made = {"uid": f"uid-{version}", "creationTimestamp": MADE, "resourceVersion": version}
            metadata = {**obj["metadata"], **made, "generation": 1}
            self.objects[address] = copy.deepcopy({**obj, "metadata": metadata})
        self.after_write("create", obj)
        return True

    async def annotate(self, obj: Object, annotations: Mapping[str, str | None]) -> None:
        address = (obj["kind"], obj["metadata"]["name"])
        self._writing("annotate", obj)
        live = self.objects[address]
        seen = obj["metadata"].get("resourceVersion", live["metadata"]["resourceVersion"])
        if live["metadata"]["resourceVersion"] != seen:
            raise refusal(409, "the object has been modified")
        for key, value in annotations.items():
            live["metadata"].setdefault("annotations", {})[key] = value
            if value is None:
                del live["metadata"]["annotations"][key]
        live["metadata"]["resourceVersion"] = str(self._next())
        self.after_write("annotate", obj)

    async def scale(self, obj: Object, replicas: int, annotations: Mapping[str, str]) -> None:
        address = (obj["kind"], obj["metadata"]["name"])
        self._writing("scale", obj)
        live = self.objects.get(address)
        if live and live["metadata"]["uid"] == obj["metadata"]["uid"]:
            live["spec"]["replicas"] = replicas
            live["metadata"].setdefault("annotations", {}).update(annotations)
            live["metadata"]["generation"] += 1
            live["metadata"]["resourceVersion"] = str(self._next())
        self.after_write("scale", obj)

    async def delete(self, obj: Object, grace_seconds: int | None = None) -> None:
        address = (obj["kind"], obj["metadata"]["name"])
        self.grace_seconds[obj["metadata"]["name"]] = grace_seconds
        self._writing("delete", obj)
        live = self.objects.get(address)
        if live and live["metadata"]["uid"] == obj["metadata"]["uid"]:
            if obj["kind"] == "ComputeDomain":
                live["metadata"]["deletionTimestamp"] = now()
            else:
                del self.objects[address]
        self.after_write("delete", obj)

    async def events_about(self, obj: Object, reason: str) -> list[Object]:
        assert reason == {"StatefulSet": "FailedCreate", "Pod": "FailedMount"}[obj["kind"]]
        return copy.deepcopy(self.failures)

    async def last_line(self, pod: Object, container: str) -> str:
        assert container == "fetch-model"
        return self.logs.get(pod["metadata"]["name"], "")

    async def set_pod_condition(self, pod: Object, kind: str, *, holds: bool, reason: str) -> None:
        self._writing("condition", pod)
        live = self.objects.get(("Pod", pod["metadata"]["name"]))
        if live and live["metadata"]["uid"] == pod["metadata"]["uid"]:
            conditions = live.setdefault("status", {}).setdefault("conditions", [])
            others = [each for each in conditions if each["type"] != kind]
            live["status"]["conditions"] = [*others, {"type": kind, "status": str(holds), "reason": reason}]
        self.after_write("condition", pod)

    async def patch_status(self, resource: Object, status: Object) -> None:
        self._writing("status", resource)
        address = (resource["kind"], resource["metadata"]["name"])
        if address in self.objects:
            self.objects[address]["status"] = copy.deepcopy(status)
        elif self.resource and self.resource["metadata"]["uid"] == resource["metadata"]["uid"]:
            self.resource["status"] = copy.deepcopy(status)
        self.after_write("status", resource)

    async def assess(self, key: Key, plan: Plan) -> Assessment:
        assert key == self.key
        return assess(needs_of(plan), self.surroundings)

    async def serving(self, kinds: Iterable[Kind]) -> Mapping[Kind, bool]:
        served = self.surroundings.served
        return {kind: served[kind] for kind in kinds if kind in served}

    def forget(self, key: Key) -> None:
        assert key == self.key

    def record(self, resource: Object, kind: str, reason: str, message: str) -> None:  # noqa: ARG002
        self.writes.append(("event", reason))

    def edit(self, **spec: Any) -> None:
        """Change fields of the specification's parts as a user would."""
        assert self.resource
        for part, fields in spec.items():
            self.resource["spec"].setdefault(part, {}).update(fields)
        self.resource["metadata"]["generation"] += 1

    def scale_role(self, role: str, replicas: int) -> None:
        """Write the count of a role's scaler as kubectl scale does."""
        scaler = self.objects["DisaggScaler", f"demo-{role}"]
        scaler["spec"]["replicas"] = replicas
        scaler["metadata"]["generation"] += 1

    def settle(self) -> None:
        """Let Kubernetes' own controllers catch up."""
        self.driver.work(self.objects)
        self._collect_garbage()
        for address, obj in list(self.objects.items()):
            if obj["kind"] in ("ComputeDomain", "Pod"):
                continue
            if obj["kind"] == "StatefulSet":
                self._settle_pods(obj)
            if "deletionTimestamp" in obj["metadata"]:
                del self.objects[address]
            elif obj["kind"] in ("StatefulSet", "Deployment"):
                replicas = obj["spec"]["replicas"]
                ready = replicas if self.healthy(obj["metadata"]["name"]) else 0
                # One more of the new template than there are to be, until it is ready.
                more = int(obj["kind"] == "Deployment" and not self.rolled_out())
                obj["status"] = {"replicas": replicas + more, "updatedReplicas": more or replicas}
                obj["status"] |= {"readyReplicas": ready, "availableReplicas": ready}
                obj["status"]["observedGeneration"] = obj["metadata"]["generation"]

    def _collect_garbage(self) -> None:
        """End the pods whose StatefulSet is gone."""
        there = {obj["metadata"].get("uid") for obj in self.objects.values()}
        for address, obj in list(self.objects.items()):
            owner = obj["metadata"].get("ownerReferences", [{}])[0]
            if obj["kind"] != "Pod" or owner.get("kind") != "StatefulSet" or owner["uid"] in there:
                continue
            if self.lingering:
                obj["metadata"].setdefault("deletionTimestamp", now())
            else:
                del self.objects[address]

    def _settle_pods(self, stateful_set: Object) -> None:
        """Make and end the pods that hold claims, or all: few tests need others."""
        name = stateful_set["metadata"]["name"]
        template = stateful_set["spec"]["template"]
        claims = template["spec"].get("resourceClaims", [])
        if not (claims or self.with_pods):
            return
        wanted = {f"{name}-{index}" for index in range(stateful_set["spec"]["replicas"])}
        for _, pod in self._pods(stateful_set):
            if pod not in wanted:
                del self.objects["Pod", pod]
        for pod in wanted - {pod for _, pod in self._pods(stateful_set)}:
            self.objects["Pod", pod] = {
                "kind": "Pod",
                "metadata": {
                    "name": pod,
                    "namespace": self.key.namespace,
                    "labels": template["metadata"]["labels"],
                    "uid": f"uid-{self._next()}",
                    "creationTimestamp": MADE,
                    "ownerReferences": [controlled_by(stateful_set)],
                },
                "spec": {"nodeName": f"node-{pod}", "resourceClaims": claims},
            }

    def _pods(self, stateful_set: Object) -> list[Address]:
        uid = stateful_set["metadata"]["uid"]
        return [
            address
            for address, obj in self.objects.items()
            if obj["kind"] == "Pod" and obj["metadata"]["ownerReferences"][0]["uid"] == uid
        ]

    def remove(self) -> None:
        """Delete the deployment as a user does."""
        assert self.resource
        self.resource["metadata"]["deletionTimestamp"] = now()
        if not self.resource["metadata"].get("finalizers"):
            self.resource = None

    def names(self, kind: str) -> set[str]:
        """Return the names of the objects of a kind."""
        return {name for found, name in self.objects if found == kind}

    def condition(self, kind: str) -> Object:
        """Return a condition of the deployment."""
        assert self.resource
        return next(found for found in self.resource["status"]["conditions"] if found["type"] == kind)

    def _writing(self, verb: str, obj: Object) -> None:
        self.before_write(verb, obj)
        self.writes.append((verb, f"{obj['kind']} {obj['metadata']['name']}"))

    def _next(self) -> int:
        self._version += 1
        return self._version


def _defaulted(obj: Object) -> Object:
    """Return the object with a field of the API server's own, as real ones have many."""
    if "spec" in obj:
        obj["spec"].setdefault("revisionHistoryLimit", 10)
    return obj


def refusal(code: int, message: str = "no") -> ClusterError:
    """Return what the API server answers when it refuses."""
    return ClusterError(code, "Refused", message)
