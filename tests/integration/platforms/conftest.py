"""Simulated machines on a real control plane, NVIDIA's real ComputeDomain controller, and our operator."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.audit import AuditTrail
from integration.operator.control_plane import Api, OperatorProcess
from integration.platforms.racks import RackDeployment, chart_operator
from testcluster.platforms.cluster import PlatformCluster, private_platform_cluster


@pytest.fixture(scope="session")
def platform_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlatformCluster]:
    """A private control plane with scheduler, KWOK and the ComputeDomain driver; tests add their machines."""
    with private_platform_cluster(tmp_path_factory.mktemp("platforms")) as running:
        yield running


@pytest.fixture
def platform(platform_cluster: PlatformCluster) -> Iterator[PlatformCluster]:
    """The platform cluster, for one test: the machines that it adds are removed after it."""
    before = set(platform_cluster.node_names())
    yield platform_cluster
    platform_cluster.remove_nodes(sorted(set(platform_cluster.node_names()) - before))


@pytest.fixture
def namespace(platform: PlatformCluster) -> Iterator[str]:
    """A namespace of the test's own, which goes with all that is in it."""
    name = f"platforms-{secrets.token_hex(4)}"
    platform.kubectl.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}])
    # The controller manager gives each namespace its default ServiceAccount; pods are refused before.
    platform.kubectl.text("wait", "--for=create", "serviceaccount/default", f"--namespace={name}")
    yield name
    # Waiting for the namespace takes a quarter of a minute once it had pods. What holds machines must go with
    # the test, though.
    kinds = "statefulsets,deployments,computedomains"
    platform.kubectl.text("delete", kinds, "--all", f"--namespace={name}", "--timeout=30s")
    platform.kubectl.text("delete", "namespace", name, "--wait=false")


@dataclass(frozen=True)
class RunningOperator:
    """The operator, and what the API server noted since it was started."""

    process: OperatorProcess
    audit: AuditTrail


@pytest.fixture(scope="module")
def detour() -> Path | None:
    """The kubeconfig of another way to the API server than by the service account; None: there is none."""
    return None


@pytest.fixture(scope="module")
def operator(
    platform_cluster: PlatformCluster, detour: Path | None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningOperator]:
    """An operator for the whole cluster, with the rights that the chart gives it and no others."""
    log = platform_cluster.apiserver.audit_log
    audit = AuditTrail(log, log.stat().st_size)
    with chart_operator(platform_cluster, tmp_path_factory.mktemp("operator"), detour) as process:
        yield RunningOperator(process, audit)


@pytest.fixture(scope="session")
def platform_api(platform_cluster: PlatformCluster) -> Iterator[Api]:
    """A client of the platform cluster's API server."""
    client = Api(platform_cluster.apiserver.kubeconfig)
    yield client
    client.close()


@pytest.fixture
def demo(
    platform: PlatformCluster,
    platform_api: Api,
    namespace: str,
    operator: RunningOperator,  # noqa: ARG001 - it runs
) -> Iterator[RackDeployment]:
    """A deployment of the test's own, not yet created, and gone afterwards; with a node for its frontend."""
    # The image that serves on the rack's architecture serves in the frontend too.
    arm = {"kubernetes.io/arch": "arm64"}
    platform.add_nodes(1, prefix=f"cpu-{namespace[-4:]}", labels=arm, channel=False)
    deployment = RackDeployment(platform, platform_api, namespace, f"demo-{namespace[-4:]}")
    yield deployment
    if deployment.there():
        deployment.delete()
    deployment.wait_until_gone()
