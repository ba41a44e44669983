"""What tests ask for: a control plane of their own, or the running test cluster."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from testcluster.console import Progress
from testcluster.controlplane import ControlPlane, Endpoints, Features
from testcluster.paths import default_paths
from testcluster.processes import Supervisor
from testcluster.toolchain import Tools, ensure_plane


@dataclass(frozen=True)
class ApiServer:
    """A private control plane with no node.

    Args:
        kubeconfig: Administrator's kubeconfig.
        audit_log: Every request it served, one JSON object a line, at level Metadata.
        tools: kubectl and helm that fit it.
        plane: Its parts, for tests that end one and start it again.
    """

    kubeconfig: Path
    audit_log: Path
    tools: Tools
    plane: ControlPlane


@contextmanager
def private_apiserver(
    directory: Path,
    *,
    scheduler: bool = False,
    features: Features = Features(),  # noqa: B008 - immutable
) -> Iterator[ApiServer]:
    """Run etcd, kube-apiserver and kube-controller-manager on free loopback ports for a while.

    Args:
        directory: An empty folder for their data and logs.
        scheduler: Whether to run kube-scheduler too, for tests that bring nodes of their own.
        features: What is switched on that is off by default.

    Yields:
        The running control plane; it ends with the block, and with this process if that is killed.
    """
    tools = ensure_plane(default_paths(), Progress())
    supervisor = Supervisor(directory / "pids", directory / "logs", bound=True)
    plane = ControlPlane(directory, Endpoints.free(), tools, supervisor, features)
    try:
        plane.start(scheduler=scheduler)
        yield ApiServer(plane.kubeconfig, plane.audit_log, tools, plane)
    finally:
        plane.stop()
