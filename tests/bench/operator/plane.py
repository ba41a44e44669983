"""A private control plane with simulated nodes and pods, fresh for every measurement.

Each side of a comparison begins with the same empty API server: nothing that another left behind (objects to
watch, history in etcd, a grown cache) slows it down, and nothing has to be deleted in between.
"""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.operator.client import Client
from bench.operator.process import cpu_seconds
from bench.operator.shapes import NAMESPACE
from chart.helm import IMAGES, Helm, settings
from testcluster.console import Progress
from testcluster.controlplane import ControlPlane, Endpoints
from testcluster.kubectl import Kubectl
from testcluster.paths import REPOSITORY, default_paths
from testcluster.platforms.kwok import start_kwok
from testcluster.platforms.machines import node
from testcluster.processes import Supervisor
from testcluster.toolchain import KUBERNETES, ensure_platform_parts, ensure_tools, module_version

PODS_PER_NODE = 110
_SPARE_NODES = 4
_PARTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
_LONGEST_LINE = 1 << 18
_DYNAMO = "templates/crds/nvidia.com_dynamoworkermetadatas.yaml"
"""What the chart installs for Dynamo's discovery."""
CRDS = ("crd/disaggdeployments.disagg.dev", "crd/disaggscalers.disagg.dev")


@dataclass(frozen=True)
class Plane:
    """The running control plane.

    Attributes:
        control: its parts; `credentials` makes users.
        kubectl: its administrator.
        client: what scripts use, as a user of its own.
        directory: for logs and other files of this measurement.
    """

    control: ControlPlane
    kubectl: Kubectl
    client: Client
    directory: Path

    @property
    def cpu_seconds(self) -> float:
        """CPU time of the API server, etcd, the controllers and the scheduler so far."""
        pids = (self.control.supervisor.pid(name) for name in _PARTS)
        return sum(cpu_seconds(pid) for pid in pids if pid is not None)

    @property
    def audit_size(self) -> int:
        """Bytes of the audit log's whole lines so far."""
        with self.control.audit_log.open("rb") as log:
            start = max(0, log.seek(0, os.SEEK_END) - _LONGEST_LINE)
            log.seek(start)
            return start + log.read().rfind(b"\n") + 1


@asynccontextmanager
async def fresh_plane(directory: Path, pods: int) -> AsyncIterator[Plane]:
    """Run a control plane with nodes for so many pods, our CRDs and an empty namespace, for a while.

    Args:
        directory: is emptied; data and logs go there.
        pods: how many will be made at most.
    """
    tools = ensure_tools(default_paths(), Progress())
    parts = ensure_platform_parts(default_paths(), Progress())
    shutil.rmtree(directory, ignore_errors=True)
    supervisor = Supervisor(directory / "pids", directory / "logs", bound=True)
    control = ControlPlane(directory, Endpoints.free(), tools, supervisor)
    client = None
    try:
        control.start(scheduler=True)
        start_kwok(parts, control.kubeconfig, supervisor, directory / "kwok")
        kubectl = Kubectl(tools.path("kubectl"), control.kubeconfig)
        _add_nodes(kubectl, pods // PODS_PER_NODE + _SPARE_NODES)
        kubectl.text("apply", "--server-side", "-f", str(REPOSITORY / "crds"))
        kubectl.apply(Helm(Path(tools.path("helm"))).render(*settings(**IMAGES), "--show-only", _DYNAMO))
        kubectl.await_served(*CRDS)
        kubectl.text("create", "namespace", NAMESPACE)
        kubectl.text("wait", "--for=create", "serviceaccount/default", "-n", NAMESPACE, "--timeout=60s")
        user = control.authority.issue("script", "script", groups=["system:masters"])
        client = Client(control.endpoints.server, control.authority.identity, user)
        yield Plane(control, kubectl, client, directory)
    finally:
        if client is not None:
            await client.close()
        supervisor.stop("kwok")
        control.stop()
        # Gigabytes of history by the end of a run; logs are kept.
        shutil.rmtree(directory / "etcd", ignore_errors=True)


def _add_nodes(kubectl: Kubectl, count: int) -> None:
    version = module_version(KUBERNETES.go_mod, "k8s.io/kubernetes")
    names = [f"node-{number}" for number in range(count)]
    room = {"pods": str(PODS_PER_NODE)}
    kubectl.create(
        [node(name, labels={}, allocatable=room, taints=(), clique=None, version=version) for name in names]
    )
    kubectl.text("wait", "--for=condition=Ready", "node", *names, "--timeout=120s", timeout=130)
