"""Every example on a control plane with just the machines that its README asks for, all at the same time.

Real are the API server, the controllers, the scheduler with gang scheduling on, NVIDIA's
compute-domain-controller, and the operator with the rights of its chart. Each example has a namespace whose
pods go to the example's own machines only (the admission plugin PodNodeSelector). The scheduler has the
settings that Kubernetes comes with.

Simulated are the machines and their kubelets: pods run nothing and are ready, those that wait for a canary
too, so that how KV cache moves stays unknown. A ComputeDomain's daemons are simulated as well.
"""

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart.helm import Object
from disagg_operator.plan.cluster import ClusterFacts
from disagg_operator.plan.gang import APIS
from integration.operator.control_plane import Api
from integration.platforms.conftest import RunningOperator
from integration.platforms.example_machines import FRONTENDS, HARDWARE, Hardware, Machine
from integration.platforms.racks import CLIQUE, GANG_API, GANG_FEATURES
from testcluster.paths import REPOSITORY
from testcluster.platforms.cluster import PlatformCluster, private_platform_cluster, simulated_node
from testcluster.platforms.machines import CLIQUE_LABEL

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(900)]

FILES = sorted((REPOSITORY / "examples").glob("*/*.yaml"))
SELECTOR = "scheduler.alpha.kubernetes.io/node-selector"
OWNER = "example"
SIZE = {"storage": "1Gi"}
ROLE = "disagg.dev/role"
SETTLING_SECONDS = 600.0
"""On a machine that does ten other things."""
WORKERS = ("prefill", "decode")
VERIFIED = "TransportVerified"
SERVED = ClusterFacts(gang_apis=tuple(api for api in APIS if api.api_version == GANG_API))
EXPECTED = {
    "Accepted": ("True", "Accepted"),
    "PlatformReady": ("True", "PlatformReady"),
    "Available": ("True", "ServingRequests"),
    "Progressing": ("False", "Complete"),
}


@dataclass(frozen=True)
class Example:
    """One file below `examples/`."""

    path: Path

    @property
    def id(self) -> str:
        """Folder and file, for people."""
        return f"{self.path.parent.name}/{self.path.stem}"

    @property
    def namespace(self) -> str:
        """Its namespace here, and the label of its machines."""
        return f"{self.path.parent.name}-{self.path.stem}"

    @cached_property
    def documents(self) -> list[Object]:
        """All objects of the file, in that namespace."""
        found: list[Object] = list(yaml.safe_load_all(self.path.read_text(encoding="utf-8")))
        for document in found:
            document["metadata"]["namespace"] = self.namespace
        return found

    @property
    def resource(self) -> Object:
        """The deployment."""
        (found,) = (each for each in self.documents if each["kind"] == "DisaggDeployment")
        return found

    @property
    def workers(self) -> int:
        """Number of its worker pods."""
        roles = (self.resource["spec"][role] for role in WORKERS)
        return sum(role.get("replicas", 1) * role.get("nodesPerReplica", 1) for role in roles)

    @property
    def hardware(self) -> Hardware:
        """What it needs."""
        return HARDWARE[self.id]

    @cached_property
    def readme(self) -> str:
        """What its folder says of it, on one line."""
        return " ".join(self.path.with_name("README.md").read_text(encoding="utf-8").split())


EXAMPLES = [Example(path) for path in FILES]


@dataclass(frozen=True)
class Seen:
    """What the cluster says of an example."""

    resource: Object
    pods: list[Object]

    @property
    def conditions(self) -> dict[str, tuple[str, str]]:
        """Status and reason by condition; how KV cache moves is not known, for whatever reason."""
        conditions = self.resource.get("status", {}).get("conditions", [])
        found = {each["type"]: (each["status"], each["reason"]) for each in conditions}
        if found.get(VERIFIED, ("",))[0] == "Unknown":
            del found[VERIFIED]
        return found

    @property
    def told(self) -> tuple[str, ...]:
        """What `kubectl get dd` shows first of it."""
        roles = self.resource.get("status", {}).get("roles", {})
        ready = (roles.get(role, {}).get("ready", "") for role in WORKERS)
        return self.resource["metadata"]["name"], self.resource["spec"]["platform"], *ready

    @property
    def waiting(self) -> list[str]:
        """Pods that are not ready, and why not."""
        return [
            f"{pod['metadata']['name']}: {pod['status'].get('conditions')}"
            for pod in self.pods
            if ("Ready", "True")
            not in ((at["type"], at["status"]) for at in pod["status"].get("conditions", []))
        ]

    def scheduled(self, workers: int) -> bool:
        """Whether so many workers have a node."""
        roles = [pod["metadata"]["labels"].get(ROLE) for pod in self.pods if "nodeName" in pod["spec"]]
        return roles.count("prefill") + roles.count("decode") == workers

    @property
    def nodes(self) -> Mapping[str, set[str]]:
        """The nodes that the pods of each role are on."""
        found: dict[str, set[str]] = {}
        for pod in self.pods:
            role = pod["metadata"]["labels"].get(ROLE, "")
            found.setdefault(role, set()).add(pod["spec"].get("nodeName", ""))
        return found


@pytest.fixture(scope="session")
def platform_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlatformCluster]:
    """A control plane with gang scheduling, which an example asks for, and namespaces with own machines."""
    features = replace(GANG_FEATURES, admission=("PodNodeSelector",))
    with private_platform_cluster(tmp_path_factory.mktemp("examples"), features=features) as running:
        yield running


@pytest.fixture(scope="session")
def platform_api(platform_cluster: PlatformCluster) -> Iterator[Api]:
    client = Api(platform_cluster.apiserver.kubeconfig)
    yield client
    client.close()


@pytest.fixture(scope="module")
def seen(
    platform_cluster: PlatformCluster,
    platform_api: Api,
    operator: RunningOperator,
) -> Mapping[str, Seen]:
    """What came of the examples, by id, once all have settled or had the time to."""
    platform_cluster.kubectl.apply([_namespace(example) for example in EXAMPLES])
    nodes = [node for example in EXAMPLES for node in _nodes(example)]
    racks = [node["metadata"]["name"] for node in nodes if CLIQUE_LABEL in node["metadata"]["labels"]]
    platform_cluster.add_all(nodes, channels=racks)
    platform_cluster.kubectl.apply([obj for example in EXAMPLES for obj in _volumes(example)])
    platform_cluster.kubectl.apply([obj for example in EXAMPLES for obj in example.documents])
    until = time.monotonic() + SETTLING_SECONDS
    daemons = {example.id for example in EXAMPLES if example.hardware.machine.rack}
    while True:
        operator.process.restart_if_ended()
        found = _look(platform_api)
        for example in EXAMPLES:
            one = found[example.id]
            if example.id in daemons and one.scheduled(example.workers):
                daemons.remove(example.id)
                workers = sorted(one.nodes["prefill"] | one.nodes["decode"])
                domain = f"{example.resource['metadata']['name']}-compute-domain"
                platform_cluster.driver.simulate_daemons(example.namespace, domain, workers)
        if time.monotonic() > until or all(_settled(example, found[example.id]) for example in EXAMPLES):
            return found
        time.sleep(1)


def _settled(example: Example, seen: Seen) -> bool:
    return not seen.waiting and expected(example).items() <= seen.conditions.items()


def expected(example: Example) -> dict[str, tuple[str, str]]:
    """Return status and reason of the conditions that an example comes to."""
    return {**EXPECTED, **example.hardware.conditions}


def _look(api: Api) -> dict[str, Seen]:
    resources = {
        each["metadata"]["namespace"]: each
        for each in _all(api, "/apis/disagg.dev/v1alpha1/disaggdeployments")
    }
    pods = _all(api, "/api/v1/pods")
    return {
        example.id: Seen(
            resources[example.namespace],
            [pod for pod in pods if pod["metadata"]["namespace"] == example.namespace],
        )
        for example in EXAMPLES
    }


def _all(api: Api, path: str) -> list[Object]:
    items: list[Object] = api.http.get(path).raise_for_status().json()["items"]
    return items


def _nodes(example: Example) -> Iterator[Object]:
    needed = example.hardware
    for number in range(needed.count):
        yield _node(example, f"machine-{number}", needed.machine)
    if "nvidia.com/gpu" in needed.machine.taints and not needed.machine.rack:
        yield _node(example, "other", FRONTENDS)


def _node(example: Example, name: str, machine: Machine) -> Object:
    return simulated_node(
        f"{example.namespace}-{name}",
        labels={**machine.labels, OWNER: example.namespace},
        allocatable=machine.allocatable,
        taints=[
            {"key": key, "value": value, "effect": "NoSchedule"} for key, value in machine.taints.items()
        ],
        clique=CLIQUE if machine.rack else None,
    )


def _namespace(example: Example) -> Object:
    chosen = {SELECTOR: f"{OWNER}={example.namespace}"}
    metadata: dict[str, Any] = {"name": example.namespace, "annotations": chosen}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def _volumes(example: Example) -> Iterator[Object]:
    """Yield the claims that the README says must be there, and volumes for all claims."""
    for claim in example.hardware.claims:
        volume = _volume(f"{example.namespace}-{claim}", "ReadWriteMany")
        yield volume
        shared = {"accessModes": ["ReadWriteMany"], "storageClassName": "", "resources": {"requests": SIZE}}
        yield {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": claim, "namespace": example.namespace},
            "spec": {**shared, "volumeName": volume["metadata"]["name"]},
        }
    for member in range(example.hardware.etcd):
        # SIMULATED: what a default StorageClass would make for a member of etcd.
        yield _volume(f"{example.namespace}-etcd-{member}", "ReadWriteOnce")


def _volume(name: str, mode: str) -> Object:
    spec = {"accessModes": [mode], "capacity": SIZE, "hostPath": {"path": "/simulated"}}
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.id)
def test_an_example_runs_on_the_machines_that_its_readme_asks_for(
    seen: Mapping[str, Seen], example: Example
) -> None:
    assert example.hardware.told in example.readme, "the README and example_machines.py differ"
    found = seen[example.id]
    assert found.waiting == []
    assert found.scheduled(example.workers)
    for pod in found.pods:
        if pod["metadata"]["labels"].get(ROLE) in WORKERS:
            assert asked_devices(pod) == devices(example.hardware.machine)
    if "vpc.amazonaws.com/efa" in example.hardware.machine.allocatable:
        assert not found.nodes["prefill"] & found.nodes["decode"], "EFA has no loopback inside a node"
    assert found.conditions == expected(example)
    assert found.told in readme_rows(example), "the README shows what kubectl prints"


def devices(machine: Machine) -> set[str]:
    """Return the names of the devices that a machine has."""
    return {name for name in machine.allocatable if "/" in name}


def asked_devices(pod: Object) -> set[str]:
    """Return the names of the devices that a pod asks for."""
    asked = [each.get("resources", {}).get("limits", {}) for each in pod["spec"]["containers"]]
    return {name for limits in asked for name in limits if "/" in name}


def readme_rows(example: Example) -> list[tuple[str, ...]]:
    """Return name, platform, prefill and decode of what the README shows of `kubectl get dd`."""
    text = example.path.with_name("README.md").read_text(encoding="utf-8")
    return re.findall(r"^(\S+) +(\S+) +(\d+/\d+) +(\d+/\d+) .*True +9m$", text, re.MULTILINE)
