"""NVIDIA's DRA driver for ComputeDomains, without GPUs.

Real: compute-domain-controller, its CRDs, and its chart's device classes and service account.
Simulated: what the driver's kubelet plugin and its daemons would do on each machine (`simulate_daemons`).
"""

import os
import shutil
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from testcluster.commands import output
from testcluster.controlplane import CLIENT_LIMITS
from testcluster.errors import ClusterError
from testcluster.kubectl import Kubectl
from testcluster.platforms.machines import CLIQUE_LABEL
from testcluster.processes import Supervisor
from testcluster.toolchain import Tools
from testcluster.waiting import until, wait_for

Object = dict[str, Any]

NAMESPACE = "dra-driver-nvidia-gpu"
DOMAIN_LABEL = "resource.nvidia.com/computeDomain"
DOMAIN_CLIQUE_LABEL = "resource.nvidia.com/computeDomain.cliqueID"
CONTROLLER = "compute-domain-controller"
STARTED = "ComputeDomainStatusManager: starting periodic sync"
"""The last line that the controller (v0.4.1) writes while it starts."""
START_SECONDS = 30.0
DAEMON_SECONDS = 20.0
CHART_PARTS = (
    "templates/deviceclass-compute-domain-default-channel.yaml",
    "templates/deviceclass-compute-domain-daemon.yaml",
    "templates/rbac-compute-domain-daemon.yaml",
)


class ComputeDomainDriver:
    """The driver on one private control plane.

    Args:
        kubectl: Administrator of the control plane.
        helm: The helm program.
        parts: The controller, its templates and its chart.
        supervisor: Starts and ends the controller.
        directory: An empty folder of its own.
    """

    def __init__(
        self, kubectl: Kubectl, helm: str, parts: Tools, supervisor: Supervisor, directory: Path
    ) -> None:
        self.kubectl = kubectl
        self.helm = helm
        self.parts = parts
        self.supervisor = supervisor
        self.root = directory / "root"
        self.chart = parts.directory / "chart"

    @property
    def log(self) -> Path:
        """The controller's log."""
        return self.supervisor.log(CONTROLLER)

    def install(self) -> None:
        """Apply the CRDs and the chart's objects, and start the controller."""
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        self.kubectl.apply([namespace])
        crds = str(self.chart / "crds")
        self.kubectl.text("apply", "--server-side", "-f", crds)
        self.kubectl.await_served("-f", crds)
        self.kubectl.text("apply", "--server-side", "-f", "-", stdin=self._chart_objects())
        self.start_controller()

    def uninstall(self) -> None:
        """Stop the controller and remove what `install` applied; the namespace stays.

        Raises:
            ClusterError: If there are ComputeDomains: their finalizers would never be taken off.
        """
        left = self.kubectl.text("get", "computedomains", "-A", "-o", "name").split()
        if left:
            raise ClusterError(f"the driver is in use: {', '.join(left)}", remedy="delete these first")
        self.stop_controller()
        self.kubectl.text("delete", "-f", "-", "--ignore-not-found", stdin=self._chart_objects())
        self.kubectl.text("delete", "-f", str(self.chart / "crds"), "--ignore-not-found")

    @contextmanager
    def absent(self) -> Iterator[None]:
        """A cluster on which the driver was never installed, for a while; machines keep their slices."""
        self.uninstall()
        try:
            yield
        finally:
            self.install()

    def start_controller(self) -> None:
        """Start the controller and wait until it watches; harmless if it runs."""
        if not self.root.exists():
            self._make_root()
        written = self.log.stat().st_size if self.log.exists() else 0
        if self.supervisor.ensure(CONTROLLER, self._command()):
            wait_for(
                self.supervisor,
                CONTROLLER,
                lambda: STARTED.encode() in self.log.read_bytes()[written:],
                seconds=START_SECONDS,
            )

    def stop_controller(self) -> None:
        """End the controller; harmless if it does not run. What it made stays."""
        self.supervisor.stop(CONTROLLER)

    @contextmanager
    def controller_stopped(self) -> Iterator[None]:
        """A controller that does not run, for a while."""
        self.stop_controller()
        try:
            yield
        finally:
            self.start_controller()

    def simulate_daemons(
        self,
        namespace: str,
        domain: str,
        nodes: Sequence[str],
        *,
        status: Literal["Ready", "NotReady"] = "Ready",
    ) -> None:
        """SIMULATED: do what the driver's kubelet plugin and daemon do once a node's claim is prepared.

        The plugin labels the node; the real DaemonSet controller then makes the daemon's pod, whose claim the
        real scheduler allocates. The daemon labels its pod with its clique, which the node's label
        `nvidia.com/gpu.clique` names, and enters itself in the ComputeDomainClique. From there on the real
        controller fills `status.nodes`. Nodes of earlier calls stay entered.

        Args:
            namespace: Namespace of the ComputeDomain.
            domain: Its name.
            nodes: Machines, made with a channel.
            status: What all daemons of the domain say of themselves.

        Raises:
            ClusterError: If the daemons' pods do not run in time.
        """
        found = self.kubectl.json("get", "computedomain", domain, "--namespace", namespace)
        uid: str = found["metadata"]["uid"]
        self.kubectl.text("label", "node", *nodes, f"{DOMAIN_LABEL}={uid}", "--overwrite")
        pods = until(
            lambda: self._daemon_pods(uid, set(nodes)),
            f"the daemons of ComputeDomain {domain} do not run on {', '.join(nodes)}",
            seconds=DAEMON_SECONDS,
        )
        listed = self.kubectl.json("get", "nodes", "-l", f"{DOMAIN_LABEL}={uid}")["items"]
        labels = {node["metadata"]["name"]: node["metadata"]["labels"] for node in listed}
        cliques: dict[str, list[Object]] = defaultdict(list)
        for pod in pods:
            cliques[labels[pod["spec"]["nodeName"]].get(CLIQUE_LABEL, "")].append(pod)
        for clique, members in cliques.items():
            names = [pod["metadata"]["name"] for pod in members]
            label = f"{DOMAIN_CLIQUE_LABEL}={clique}"
            self.kubectl.text("label", "pod", *names, label, "--overwrite", "--namespace", NAMESPACE)
            if clique:
                self.kubectl.apply([_clique(uid, clique, members, status)])

    def _daemon_pods(self, uid: str, nodes: set[str]) -> list[Object]:
        """The running daemon pods of a domain, the oldest first; none until there is one on each node."""
        listed = self.kubectl.json("get", "pods", "--namespace", NAMESPACE, "-l", f"{DOMAIN_LABEL}={uid}")
        running = [pod for pod in listed["items"] if pod["status"].get("podIP")]
        if not nodes <= {pod["spec"]["nodeName"] for pod in running}:
            return []
        return sorted(
            running, key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"])
        )

    def _chart_objects(self) -> str:
        argv = [self.helm, "template", "driver", str(self.chart), "--namespace", NAMESPACE]
        argv += ["--api-versions", "resource.k8s.io/v1", "--set", "resources.gpus.enabled=false"]
        return output([*argv, *(f"--show-only={part}" for part in CHART_PARTS)])

    def _make_root(self) -> None:
        """Make the controller's root folder: it reads its templates from /templates, wherever it runs."""
        shutil.copytree(self.parts.directory / "templates", self.root / "templates")
        for file in (Path(self.parts.path(CONTROLLER)), self.kubectl.kubeconfig):
            shutil.copy(file, self.root / file.name)

    def _command(self) -> list[str]:
        # Only root may change its root folder; others may in a user namespace, where they are root.
        namespace = [] if os.geteuid() == 0 else ["--map-root-user"]
        return [
            *("unshare", *namespace, f"--root={self.root}", f"/{CONTROLLER}"),
            f"--kubeconfig=/{self.kubectl.kubeconfig.name}",
            f"--namespace={NAMESPACE}",
            "--pod-name=compute-domain-controller",
            "--image-name=example.com/compute-domain:0.4.1",
            "--log-verbosity-cd-daemon=0",
            *CLIENT_LIMITS,
        ]


def _clique(uid: str, clique: str, pods: Sequence[Object], status: str) -> Object:
    """The ComputeDomainClique that the daemons of one clique write together."""
    daemons = [
        {
            "nodeName": pod["spec"]["nodeName"],
            "ipAddress": pod["status"]["podIP"],
            "cliqueID": clique,
            "index": index,
            "status": status,
        }
        for index, pod in enumerate(pods)
    ]
    owners = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": pod["metadata"]["name"],
            "uid": pod["metadata"]["uid"],
        }
        for pod in pods
    ]
    return {
        "apiVersion": "resource.nvidia.com/v1beta1",
        "kind": "ComputeDomainClique",
        "metadata": {
            "name": f"{uid}.{clique}",
            "namespace": NAMESPACE,
            "labels": {DOMAIN_LABEL: uid, DOMAIN_CLIQUE_LABEL: clique},
            "ownerReferences": owners,
        },
        "daemons": daemons,
    }
