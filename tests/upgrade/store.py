"""`make released-chart NAME=…`: store what this version makes, for later versions to be tested against.

The deployments are the soak's: one of each shape that the operator handles in its own way. They are
reconciled on the FAKE cluster until nothing is left to do; the bodies are those that it was given.
"""

import copy
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from disagg_operator.api.parse import accept
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.planner import plan
from disagg_operator.reconcile.kinds import Key, Object
from soak.shapes import SHAPES, resource
from testcluster.paths import REPOSITORY
from unit.reconcile.fake_cluster import Address, FakeCluster
from unit.reconcile.test_reconciler import drive
from upgrade.release import NAMESPACE, RELEASED, WORKER_IMAGE

INSTALLATION = Installation(WORKER_IMAGE, namespace=NAMESPACE)
_ROUNDS = 30
_SIMULATED_KEY = "SIMULATED"
"""Stands in for keys, which are nobody's to publish."""


@dataclass
class RecordingCluster(FakeCluster):
    """A FAKE cluster that remembers what it was given last for each object.

    Attributes:
        given: bodies by kind and name.
    """

    given: dict[Address, Object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.before_write = self._remember

    @property
    def key(self) -> Key:
        assert self.resource
        return Key(NAMESPACE, self.resource["metadata"]["name"])

    def _remember(self, verb: str, obj: Object) -> None:
        if verb in ("apply", "create"):
            self.given[obj["kind"], obj["metadata"]["name"]] = copy.deepcopy(obj)


def settled(made: Object) -> RecordingCluster:
    """Reconcile a deployment until nothing is left to do.

    Raises:
        RuntimeError: it does not come to rest.
    """
    found = copy.deepcopy(made)
    found["metadata"] |= {
        "uid": f"uid-of-{found['metadata']['name']}",
        "generation": 1,
        "resourceVersion": "1",
    }
    cluster = RecordingCluster(found)
    for _ in range(_ROUNDS):
        cluster.settle()
        cluster.writes.clear()
        drive(cluster, INSTALLATION)
        if not cluster.writes:
            return cluster
    raise RuntimeError(f"{cluster.key} does not come to rest")


def stored(cluster: RecordingCluster) -> list[Object]:
    """Return the resource with its status, and what is there for it, as files hold it."""
    assert cluster.resource
    first = copy.deepcopy(cluster.resource)
    first["metadata"] = {key: first["metadata"][key] for key in ("name", "namespace", "labels")}
    there = {*cluster.objects, *cluster.secrets}
    return [first, *(_published(body) for address, body in sorted(cluster.given.items()) if address in there)]


def _published(body: Object) -> Object:
    if body["kind"] != "Secret":
        return body
    return {**body, "stringData": dict.fromkeys(body["stringData"], _SIMULATED_KEY)}


def examples() -> dict[str, Object]:
    """Return the DisaggDeployments of the examples by folder and file."""
    found = {}
    for file in sorted((REPOSITORY / "examples").glob("*/*.yaml")):
        for each in yaml.safe_load_all(file.read_text(encoding="utf-8")):
            if each and each["kind"] == "DisaggDeployment":
                found[f"{file.parent.name}/{file.stem}/{each['metadata']['name']}"] = each
    return found


def mark(example: Object) -> Object:
    """Return what an example is planned from, and the revision that comes of it, as hashes."""
    planned = plan(accept(example), INSTALLATION)
    return {"inputs": planned.planned_for, "revision": planned.own_revision}


def write(folder: Path) -> None:
    """Store everything in a new folder.

    Raises:
        FileExistsError: there is one; what was released is not changed.
    """
    folder.mkdir(parents=True)
    (folder / "deployments").mkdir()
    found = examples()
    crds = [yaml.safe_load(path.read_text()) for path in sorted((REPOSITORY / "crds").glob("*.yaml"))]
    _write(folder / "definitions.yaml", crds)
    _write(
        folder / "examples.yaml", [{name: {"resource": each} | mark(each) for name, each in found.items()}]
    )
    for shape in SHAPES:
        _write(folder / "deployments" / f"{shape}.yaml", stored(settled(resource(shape, NAMESPACE, shape))))


def _write(file: Path, documents: list[Any]) -> None:
    file.write_text(yaml.safe_dump_all(documents, sort_keys=False, width=200, allow_unicode=True))


if __name__ == "__main__":
    name = sys.argv[1]
    if not name:
        sys.exit("NAME is empty: write the release's version, such as make released-chart NAME=0.1.0")
    write(RELEASED / name)
