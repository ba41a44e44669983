"""Simulated machines on a real control plane, beside NVIDIA's real ComputeDomain controller."""

import secrets
from collections.abc import Iterator

import pytest

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
