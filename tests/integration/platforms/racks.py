"""GB200 racks and deployments on them, with an operator that has just what the chart gives it."""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from chart.helm import NAMESPACE as SYSTEM
from chart.helm import RELEASE, Helm, Object, of_kind, settings, the
from integration.operator.control_plane import LIMIT_SECONDS, Api, OperatorProcess, eventually
from testcluster.controlplane import Features
from testcluster.paths import REPOSITORY
from testcluster.platforms.cluster import PlatformCluster

OPERATOR = f"system:serviceaccount:{SYSTEM}:{RELEASE}"
OUR_CRDS = [f"crd/{plural}.disagg.dev" for plural in ("disaggdeployments", "disaggscalers")]
DYNAMO_CRD = "dynamoworkermetadatas.nvidia.com"
CLIQUE = "0a1b2c3d-0000-4000-8000-000000000000.1"
OTHER_CLIQUE = "0a1b2c3d-0000-4000-8000-000000000000.2"
GANG_API = "scheduling.k8s.io/v1beta1"
GANG_FEATURES = Features(gates=("GenericWorkload", "TopologyAwareWorkloadScheduling"), apis=(GANG_API,))
"""What gives Kubernetes' own scheduler gang scheduling."""
TRAY: dict[str, Any] = {"gpusPerNode": 4, "parallelism": {"tensor": 4}}
TAINTS = [
    {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"},
    {"key": "kubernetes.io/arch", "value": "arm64", "effect": "NoSchedule"},
]


def add_trays(platform: PlatformCluster, count: int, clique: str = CLIQUE) -> list[str]:
    """Add compute trays of a rack, each a node of four GPUs."""
    return platform.add_nodes(
        count,
        prefix=f"tray-{secrets.token_hex(2)}",
        labels={"kubernetes.io/arch": "arm64"},
        allocatable={"nvidia.com/gpu": "4"},
        taints=TAINTS,
        clique=clique,
    )


def foreign(namespace: str, name: str, template: str) -> Object:
    """A ComputeDomain that a user made."""
    return {
        "apiVersion": "resource.nvidia.com/v1beta1",
        "kind": "ComputeDomain",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"numNodes": 0, "channel": {"resourceClaimTemplate": {"name": template}}},
    }


@contextmanager
def chart_operator(
    platform: PlatformCluster, directory: Path, kubeconfig: Path | None = None
) -> Iterator[OperatorProcess]:
    """Run an operator process with the service account, the roles and the settings of the chart.

    Args:
        platform: the cluster.
        directory: for its files.
        kubeconfig: another way to the API server than by its service account.
    """
    kubectl = platform.kubectl
    kubectl.text("apply", "--server-side", "-f", str(REPOSITORY / "crds"))
    kubectl.await_served(*OUR_CRDS)
    images = settings(**{"image.repository": "example.com/operator", "worker.image": "example.com/worker:1"})
    objects = Helm(Path(platform.apiserver.tools.path("helm"))).render(*images)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM}}
    kinds = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
    kubectl.apply([namespace])
    kubectl.apply([obj for kind in kinds for obj in of_kind(objects, kind)])
    kubectl.apply([the(objects, "CustomResourceDefinition", DYNAMO_CRD)])
    process = OperatorProcess(
        kubeconfig or _kubeconfig_of_operator(platform, directory),
        directory / "operator.log",
        {"DISAGG_LEASE_NAMESPACE": SYSTEM, "DISAGG_LEASE_NAME": RELEASE, "POD_NAMESPACE": SYSTEM},
    )
    process.start()
    try:
        process.wait_until_leading()
        yield process
    finally:
        code = process.stop()
    assert code == 0, process.log.read_text()


def _kubeconfig_of_operator(platform: PlatformCluster, directory: Path) -> Path:
    token = platform.kubectl.text("create", "token", RELEASE, f"--namespace={SYSTEM}", "--duration=2h")
    config = yaml.safe_load(platform.apiserver.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token.strip()}
    path = directory / "operator.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


@dataclass(frozen=True)
class RackDeployment:
    """One DisaggDeployment on simulated GB200 nodes."""

    platform: PlatformCluster
    api: Api
    namespace: str
    name: str

    @property
    def domain(self) -> str:
        """Name of the ComputeDomain that the operator makes."""
        return f"{self.name}-compute-domain"

    @property
    def template(self) -> str:
        """Name of its claim template."""
        return f"{self.domain}-channel"

    def create(self, replicas: int = 1, **spec: Any) -> None:
        """Create it, with one prefill node and so many decode instances of one node."""
        self.platform.kubectl.create(
            [
                {
                    "apiVersion": "disagg.dev/v1alpha1",
                    "kind": "DisaggDeployment",
                    "metadata": {"name": self.name, "namespace": self.namespace},
                    "spec": {
                        "model": {"name": "m", "source": {"huggingFace": {"repository": "org/m"}}},
                        "platform": "gb200-nvl72",
                        "prefill": TRAY,
                        "decode": {**TRAY, "replicas": replicas},
                        "rollout": {"strategy": "Recreate"},
                        **spec,
                    },
                }
            ]
        )

    def edit(self, **spec: Any) -> None:
        """Change its specification as a user does."""
        patch = ("--type=merge", "--patch", json.dumps({"spec": spec}))
        self.platform.kubectl.text("patch", "dd", self.name, self._in, *patch)

    def delete(self, *how: str) -> None:
        """Ask for its deletion, and do not wait."""
        self.platform.kubectl.text("delete", "dd", self.name, self._in, "--wait=false", *how)

    def there(self) -> bool:
        """Tell whether it is still there."""
        return self.name in self.names("disaggdeployments")

    def wait_until_gone(self, seconds: float = LIMIT_SECONDS) -> None:
        """Wait until it is gone."""
        eventually(lambda: not self.there(), f"{self.name} is gone", seconds)

    def resource(self) -> Object:
        """Return it as it is."""
        return self.api.get("disaggdeployments", self.namespace, self.name)

    def condition(self, kind: str) -> Object:
        """Return a condition, or an empty one."""
        conditions = self.resource().get("status", {}).get("conditions", [])
        empty = {"status": "", "reason": "", "message": ""}
        return next((found for found in conditions if found["type"] == kind), empty)

    def wait_for(self, kind: str, reason: str, seconds: float = LIMIT_SECONDS) -> Object:
        """Wait until a condition has a reason, and return it."""
        eventually(lambda: self.condition(kind)["reason"] == reason, f"{kind} is {reason}", seconds)
        return self.condition(kind)

    def names(self, resource: str) -> list[str]:
        """Return the names of objects of a kind in its namespace."""
        return [obj["metadata"]["name"] for obj in self.api.find(resource, self.namespace)]

    def made_domain(self) -> Object:
        """Return the ComputeDomain that the operator made."""
        return self.api.get("computedomains", self.namespace, self.domain)

    def pods(self) -> list[Object]:
        """Return its worker pods."""
        selector = f"disagg.dev/deployment={self.name},disagg.dev/role!=frontend"
        return self.api.find("pods", self.namespace, selector)

    def running_on(self, count: int, seconds: float = LIMIT_SECONDS) -> list[str]:
        """Wait until so many workers are Ready; return their nodes, sorted."""

        def ready() -> list[str]:
            found = [
                pod["spec"]["nodeName"]
                for pod in self.pods()
                if any(
                    each["type"] == "Ready" and each["status"] == "True"
                    for each in pod["status"].get("conditions", [])
                )
            ]
            return sorted(found) if len(found) == count else []

        return eventually(ready, f"{count} workers are ready", seconds)

    @property
    def _in(self) -> str:
        return f"--namespace={self.namespace}"


def made_at(obj: Object) -> datetime:
    """Return when an object was made."""
    return datetime.fromisoformat(obj["metadata"]["creationTimestamp"])
