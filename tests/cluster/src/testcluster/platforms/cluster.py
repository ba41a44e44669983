"""A private control plane with simulated machines, and NVIDIA's ComputeDomain driver where asked for."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testcluster.console import Progress
from testcluster.controlplane import Features
from testcluster.fixtures import ApiServer, private_apiserver
from testcluster.kubectl import Kubectl
from testcluster.paths import default_paths
from testcluster.platforms.computedomains import ComputeDomainDriver
from testcluster.platforms.kwok import start_kwok
from testcluster.platforms.machines import channel_slice, node
from testcluster.processes import Supervisor
from testcluster.toolchain import KUBERNETES, ensure_platform_parts, module_version


def simulated_node(
    name: str,
    *,
    labels: Mapping[str, str],
    allocatable: Mapping[str, str],
    taints: Sequence[Mapping[str, str]] = (),
    clique: str | None = None,
) -> dict[str, Any]:
    """A Node that KWOK looks after, of the cluster's version; arguments as of `MachineCluster.add_nodes`."""
    version = module_version(KUBERNETES.go_mod, "k8s.io/kubernetes")
    return node(name, labels=labels, allocatable=allocatable, taints=taints, clique=clique, version=version)


@dataclass(frozen=True)
class MachineCluster:
    """A control plane with simulated machines.

    Args:
        apiserver: The control plane: its kubeconfig, audit log and tools.
        kubectl: Its administrator.
    """

    apiserver: ApiServer
    kubectl: Kubectl

    def add_nodes(
        self,
        count: int,
        *,
        prefix: str,
        labels: Mapping[str, str] | None = None,
        allocatable: Mapping[str, str] | None = None,
        taints: Sequence[Mapping[str, str]] = (),
        clique: str | None = None,
        channel: bool = True,
    ) -> list[str]:
        """Add simulated machines `<prefix>-0`, `<prefix>-1` …, and wait until they are Ready.

        Args:
            count: How many.
            prefix: Begins their names; not in use by other machines.
            labels: Such as `node.kubernetes.io/instance-type`; `kubernetes.io/arch` is amd64 unless given.
            allocatable: Quantities by resource, such as `{"nvidia.com/gpu": "4"}`, beside CPU and memory.
            taints: As in a Node's spec: `{"key": …, "value": …, "effect": "NoSchedule"}`.
            clique: `<ClusterUUID>.<CliqueID>` of their NVLink domain, the value of `nvidia.com/gpu.clique`.
            channel: Whether each publishes channel 0 of the ComputeDomain driver, as its plugin would.

        Returns:
            Their names.
        """
        names = [f"{prefix}-{index}" for index in range(count)]
        made = [
            simulated_node(
                name, labels=labels or {}, allocatable=allocatable or {}, taints=taints, clique=clique
            )
            for name in names
        ]
        self.add_all(made, channels=names if channel else ())
        return names

    def add_all(self, nodes: Sequence[dict[str, Any]], channels: Collection[str]) -> None:
        """Add simulated machines of any sorts at once, and wait until they are Ready.

        Args:
            nodes: Made by `simulated_node`.
            channels: Names of those that publish channel 0 of the ComputeDomain driver, as its plugin would.
        """
        # Created, not applied: server-side apply leaves out a Node's status, which says what it has.
        self.kubectl.create(nodes)
        names = [found["metadata"]["name"] for found in nodes]
        self.kubectl.text("wait", "--for=condition=Ready", "node", *names, "--timeout=60s")
        if channels:
            found = self.kubectl.json("get", "nodes", *channels)
            items = found["items"] if found["kind"] == "List" else [found]
            self.kubectl.create(
                [channel_slice(each["metadata"]["name"], each["metadata"]["uid"]) for each in items]
            )

    def node_names(self) -> list[str]:
        """The names of all machines."""
        return self.kubectl.text("get", "nodes", "-o", "jsonpath={.items[*].metadata.name}").split()

    def remove_nodes(self, names: Sequence[str]) -> None:
        """Take machines away as a power cut does; their pods go at once, not a minute later.

        Args:
            names: What `add_nodes` returned, or a part of it.
        """
        if not names:
            return
        self.kubectl.text("delete", "node", *names)
        listed = self.kubectl.json("get", "pods", "--all-namespaces")["items"]
        for pod in listed:
            if pod["spec"].get("nodeName") in names:
                name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
                force = ("--force", "--grace-period=0", "--ignore-not-found")
                self.kubectl.text("delete", "pod", name, "--namespace", namespace, *force)


@dataclass(frozen=True)
class PlatformCluster(MachineCluster):
    """A control plane with simulated machines and NVIDIA's ComputeDomain driver.

    Args:
        driver: Installed, and its controller running.
    """

    driver: ComputeDomainDriver


@contextmanager
def private_machine_cluster(directory: Path) -> Iterator[MachineCluster]:
    """Run a control plane with scheduler and KWOK for a while; no machine at first.

    Args:
        directory: An empty folder for data and logs.
    """
    parts = ensure_platform_parts(default_paths(), Progress())
    with private_apiserver(directory / "plane", scheduler=True) as apiserver:
        supervisor = Supervisor(directory / "pids", directory / "logs", bound=True)
        try:
            start_kwok(parts, apiserver.kubeconfig, supervisor, directory / "kwok")
            yield MachineCluster(apiserver, Kubectl(apiserver.tools.path("kubectl"), apiserver.kubeconfig))
        finally:
            supervisor.stop("kwok")


@contextmanager
def private_platform_cluster(
    directory: Path,
    *,
    features: Features = Features(),  # noqa: B008 - immutable
) -> Iterator[PlatformCluster]:
    """Run a control plane with scheduler, KWOK and the ComputeDomain driver for a while; no machine at first.

    Args:
        directory: An empty folder for data and logs.
        features: What is switched on that is off by default.
    """
    parts = ensure_platform_parts(default_paths(), Progress())
    with private_apiserver(directory / "plane", scheduler=True, features=features) as apiserver:
        supervisor = Supervisor(directory / "pids", directory / "logs", bound=True)
        kubectl = Kubectl(apiserver.tools.path("kubectl"), apiserver.kubeconfig)
        helm = apiserver.tools.path("helm")
        driver = ComputeDomainDriver(kubectl, helm, parts, supervisor, directory / "driver")
        try:
            start_kwok(parts, apiserver.kubeconfig, supervisor, directory / "kwok")
            driver.install()
            yield PlatformCluster(apiserver, kubectl, driver)
        finally:
            for name in supervisor.names():
                supervisor.stop(name)
