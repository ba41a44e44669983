"""Instances on several nodes are scheduled all or none: by Kubernetes' own scheduler, with its gates on.

Real are the API server, the scheduler, the controller manager and the operator with the rights of its chart.
Simulated are the machines.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from chart.helm import RELEASE, Object
from e2e.audit import FORBIDDEN, granted, used
from integration.operator.control_plane import Api, eventually
from integration.platforms.conftest import RunningOperator
from integration.platforms.racks import GANG_API, GANG_FEATURES, OPERATOR, RackDeployment
from testcluster.platforms.cluster import PlatformCluster, private_platform_cluster

pytestmark = pytest.mark.apiserver

PLACE = "example.com/place"
PAIR: dict[str, Any] = {
    "platform": "generic",
    "runtime": {"engine": "trtllm"},
    "prefill": {"replicas": 0, "parallelism": {"tensor": 8}},
    "decode": {"nodesPerReplica": 2, "parallelism": {"tensor": 16}},
}


@pytest.fixture(scope="session")
def platform_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlatformCluster]:
    """A control plane of which all parts have gang scheduling switched on."""
    with private_platform_cluster(tmp_path_factory.mktemp("gangs"), features=GANG_FEATURES) as running:
        yield running


@pytest.fixture(scope="session")
def platform_api(platform_cluster: PlatformCluster) -> Iterator[Api]:
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
    """A deployment with one instance on two nodes, not yet created, and gone afterwards."""
    deployment = RackDeployment(platform, platform_api, namespace, f"demo-{namespace[-4:]}")
    yield deployment
    deployment.delete()
    deployment.wait_until_gone()
    eventually(lambda: not platform_api.find("statefulsets", namespace), "its objects are gone")


def add_machines(platform: PlatformCluster, count: int, place: str) -> list[str]:
    prefix = f"gpu-{place}-{len(platform.node_names())}"
    return platform.add_nodes(
        count,
        prefix=prefix,
        labels={PLACE: place},
        allocatable={"nvidia.com/gpu": "8", "memory": "2Ti", "cpu": "192"},
        channel=False,
    )


def bound(demo: RackDeployment) -> list[str]:
    return sorted(pod["spec"]["nodeName"] for pod in demo.pods() if "nodeName" in pod["spec"])


def group_of(demo: RackDeployment) -> Object:
    """Return the PodGroup of the only instance, once there is one."""
    path = f"/apis/{GANG_API}/namespaces/{demo.namespace}/podgroups"

    def found() -> list[Object]:
        items: list[Object] = demo.api.http.get(path).raise_for_status().json()["items"]
        return items

    (group,) = eventually(found, "there is a PodGroup")
    return group


def refused(demo: RackDeployment) -> bool:
    """Tell whether the scheduler has looked at the group and given no node to it."""
    conditions = group_of(demo).get("status", {}).get("conditions", [])
    return any(
        (each["type"], each["status"], each["reason"])
        == ("PodGroupInitiallyScheduled", "False", "Unschedulable")
        for each in conditions
    )


def test_no_pod_of_an_instance_is_bound_before_there_is_room_for_all(demo: RackDeployment) -> None:
    add_machines(demo.platform, 1, "a")
    demo.create(**PAIR)
    eventually(lambda: len(demo.pods()) == 2, "both pods are there")
    eventually(lambda: refused(demo), "the scheduler finds no room for the group")
    assert bound(demo) == []
    group = group_of(demo)
    (stateful_set,) = demo.api.find("statefulsets", demo.namespace, "disagg.dev/role=decode")
    assert group["spec"]["schedulingPolicy"]["gang"]["minCount"] == 2
    (owner,) = group["metadata"]["ownerReferences"]
    assert owner["uid"] == stateful_set["metadata"]["uid"]
    add_machines(demo.platform, 1, "a")
    eventually(lambda: len(bound(demo)) == 2, "both pods are bound once there is room")


def test_an_instance_goes_whole_to_one_place_or_nowhere(demo: RackDeployment) -> None:
    add_machines(demo.platform, 1, "a")
    (first,) = add_machines(demo.platform, 1, "b")
    demo.create(**PAIR, placement={"group": {"topologyKey": PLACE}})
    eventually(lambda: refused(demo), "no place has room for the group")
    assert bound(demo) == []
    demo.wait_for("PlatformReady", "NoLargeDomain")
    (second,) = add_machines(demo.platform, 1, "b")
    eventually(lambda: bound(demo) == sorted([first, second]), "both pods are in the place with room")
    demo.wait_for("PlatformReady", "PlatformReady")


def test_places_that_are_only_preferred_are_no_reason_to_wait(demo: RackDeployment) -> None:
    add_machines(demo.platform, 1, "a")
    add_machines(demo.platform, 1, "b")
    demo.create(**PAIR, placement={"group": {"topologyKey": PLACE, "required": False}})
    eventually(lambda: len(bound(demo)) == 2, "both pods are bound, though no place has room for both")


def test_without_gang_scheduling_a_part_of_an_instance_holds_a_node_and_waits(demo: RackDeployment) -> None:
    add_machines(demo.platform, 1, "a")
    demo.create(**PAIR, placement={"gang": {"scheduler": "None"}})
    eventually(lambda: len(bound(demo)) == 1, "one pod is bound though the other has no room")
    assert len(demo.pods()) == 2


def test_every_permission_for_gangs_that_this_cluster_needs_is_used(
    platform: PlatformCluster, operator: RunningOperator
) -> None:
    """Looks back at all tests of this module."""
    made = list(operator.audit.requests(OPERATOR))
    assert not [request.told for request in made if request.code == FORBIDDEN]
    rules = platform.kubectl.json("get", "clusterrole", RELEASE)["rules"]
    groups = {"scheduling.k8s.io", "scheduling.run.ai", "scheduling.x-k8s.io"}
    ours = [rule for rule in rules if {*rule["apiGroups"]} & groups]
    assert {verb for rule in ours for verb in rule["verbs"]} == {"create"}
    assert granted([{"rules": ours}]) & used(made) == {("scheduling.k8s.io", "podgroups", "create")}
