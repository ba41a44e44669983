"""A FAKE cluster in memory, for tests of reconciling only. The real API server is tried in tests/integration.

It knows server-side apply well enough for one field manager, resource versions, uids, generations and
foreground deletion, and plays the controllers of StatefulSets and Deployments on demand. It has one large
node.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from disagg_operator.plan import names
from disagg_operator.plan.model import Plan
from disagg_operator.reconcile.errors import ClusterError
from disagg_operator.reconcile.kinds import Key, Object
from disagg_operator.reconcile.preflight.checks import assess
from disagg_operator.reconcile.preflight.fault import Assessment
from disagg_operator.reconcile.preflight.needs import WORKER_METADATA, needs_of
from disagg_operator.reconcile.preflight.snapshot import ClusterSnapshot, Node

Address = tuple[str, str]

ROOMY = Node(
    name="large",
    labels={},
    allocatable={"cpu": Decimal(1000), "memory": Decimal(2**42)},
    taints=(),
    cordoned=False,
    ready=True,
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
        "spec": {"model": model, "platform": "local", "runtime": {"engine": "reference"}, **spec},
    }


@dataclass
class FakeCluster:
    """One namespace with one DisaggDeployment and what is made for it.

    Attributes:
        resource: the DisaggDeployment, or None once it is deleted.
        objects: children by kind and name.
        writes: every write, as verb and object.
        healthy: whether pods of a StatefulSet or Deployment of this name become ready.
        before_write: is called with verb and object before each write; may raise.
        after_write: is called after each write took effect; may raise.
        surroundings: what the cluster says of itself.
    """

    resource: Object | None
    objects: dict[Address, Object] = field(default_factory=dict)
    writes: list[tuple[str, str]] = field(default_factory=list)
    healthy: Callable[[str], bool] = lambda _: True
    before_write: Callable[[str, Object], None] = lambda *_: None
    after_write: Callable[[str, Object], None] = lambda *_: None
    surroundings: ClusterSnapshot = SURROUNDINGS
    _version: int = 1

    @property
    def key(self) -> Key:
        return Key("ns", "demo")

    async def get_deployment(self, key: Key) -> Object | None:
        assert key == self.key
        return copy.deepcopy(self.resource)

    def of(self, key: Key) -> Iterator[Object]:
        for obj in self.objects.values():
            if obj["metadata"]["labels"][names.LABEL_DEPLOYMENT] == key.name:
                yield copy.deepcopy(obj)

    async def apply(self, obj: Object) -> Object:
        address = (obj["kind"], obj["metadata"]["name"])
        self._writing("apply", obj)
        old = self.objects.get(address)
        if old and old.get("roleRef") != obj.get("roleRef"):
            raise refusal(422, "roleRef is immutable")
        new = copy.deepcopy(obj)
        old_metadata = old["metadata"] if old else {}
        changed = old is None or old.get("spec") != _defaulted(new).get("spec")
        new = _defaulted(new)
        new["metadata"] |= {
            "uid": old_metadata.get("uid", f"uid-{self._next()}"),
            "resourceVersion": str(self._next()),
            "generation": old_metadata.get("generation", 0) + changed,
        }
        if "deletionTimestamp" in old_metadata:
            new["metadata"]["deletionTimestamp"] = old_metadata["deletionTimestamp"]
        if old and "status" in old:
            new["status"] = old["status"]
        self.objects[address] = new
        self.after_write("apply", obj)
        return copy.deepcopy(new)

    async def delete(self, obj: Object) -> None:
        address = (obj["kind"], obj["metadata"]["name"])
        self._writing("delete", obj)
        live = self.objects.get(address)
        if live and live["metadata"]["uid"] == obj["metadata"]["uid"]:
            if obj["kind"] == "StatefulSet":
                live["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            else:
                del self.objects[address]
        self.after_write("delete", obj)

    async def patch_status(self, resource: Object, status: Object) -> None:
        self._writing("status", resource)
        if self.resource and self.resource["metadata"]["uid"] == resource["metadata"]["uid"]:
            self.resource["status"] = copy.deepcopy(status)
        self.after_write("status", resource)

    async def assess(self, key: Key, plan: Plan) -> Assessment:
        assert key == self.key
        return assess(needs_of(plan), self.surroundings)

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

    def settle(self) -> None:
        """Let Kubernetes' own controllers catch up."""
        for address, obj in list(self.objects.items()):
            if "deletionTimestamp" in obj["metadata"]:
                del self.objects[address]
            elif obj["kind"] in ("StatefulSet", "Deployment"):
                replicas = obj["spec"]["replicas"]
                ready = replicas if self.healthy(obj["metadata"]["name"]) else 0
                obj["status"] = {"replicas": replicas, "updatedReplicas": replicas}
                obj["status"] |= {"readyReplicas": ready, "availableReplicas": ready}

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
