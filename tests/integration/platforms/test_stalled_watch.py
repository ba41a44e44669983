"""The watch of ComputeDomains stalls while that of claim templates does not."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.faults.faults import silence
from integration.faults.proxy import FaultProxy
from integration.faults.requests import Match
from integration.operator.control_plane import eventually
from integration.platforms.racks import RackDeployment, add_trays
from testcluster.platforms.cluster import PlatformCluster

pytestmark = pytest.mark.apiserver

WATCH = Match(verbs={"watch"}, resources=("computedomains",))


@pytest.fixture(scope="module")
def proxy(
    platform_cluster: PlatformCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FaultProxy]:
    """Stands between the operator and the API server."""
    folder = tmp_path_factory.mktemp("stalled") / "proxy"
    with FaultProxy(platform_cluster.apiserver.kubeconfig, folder) as running:
        yield running


@pytest.fixture(scope="module")
def detour(proxy: FaultProxy) -> Path:
    """The operator's requests go through the proxy."""
    return proxy.kubeconfig


def test_a_domain_that_no_watch_shows_is_used_all_the_same(
    platform: PlatformCluster, demo: RackDeployment, proxy: FaultProxy
) -> None:
    """Its claim template is there: it must not be taken for that of another domain, and ours not deleted."""
    add_trays(platform, 2)
    silent = proxy.on(WATCH, silence)
    proxy.break_off(WATCH)
    eventually(lambda: silent.done >= 1, "the watch is silent")
    demo.create()
    demo.running_on(2)
    assert proxy.entries(Match(verbs={"delete"}, resources=("computedomains",))) == []
    proxy.heal()
    proxy.break_off(WATCH)
    demo.wait_for("Progressing", "Complete")
