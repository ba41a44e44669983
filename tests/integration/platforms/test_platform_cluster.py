"""The platform cluster itself: what tests of platforms build on behaves as the real thing does."""

from typing import Any

import pytest

from testcluster.errors import ClusterError
from testcluster.platforms.cluster import PlatformCluster
from testcluster.platforms.computedomains import NAMESPACE as DRIVER_NAMESPACE
from testcluster.waiting import until

pytestmark = pytest.mark.apiserver

Object = dict[str, Any]

CLIQUE = "0a1b2c3d-0000-4000-8000-000000000000.1"
DOMAIN = "domain"
TEMPLATE = "domain-channel"
SECONDS = 20.0


def compute_domain(nodes: int) -> Object:
    return {
        "apiVersion": "resource.nvidia.com/v1beta1",
        "kind": "ComputeDomain",
        "metadata": {"name": DOMAIN},
        "spec": {"numNodes": nodes, "channel": {"resourceClaimTemplate": {"name": TEMPLATE}}},
    }


def workload(replicas: int, **pod: Any) -> Object:
    container = {"name": "worker", "image": "example.com/worker", **pod.pop("container", {})}
    labels = {"app": "workload"}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "workload"},
        "spec": {
            "serviceName": "workload",
            "podManagementPolicy": "Parallel",
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container], **pod}},
        },
    }


def with_channel(replicas: int) -> Object:
    """A workload whose pods hold a channel of the domain each."""
    return workload(
        replicas,
        resourceClaims=[{"name": "channel", "resourceClaimTemplateName": TEMPLATE}],
        container={"resources": {"claims": [{"name": "channel"}]}},
    )


def create(platform: PlatformCluster, namespace: str, *objects: Object) -> None:
    for obj in objects:
        obj["metadata"]["namespace"] = namespace
    platform.kubectl.create(objects)


def pods(platform: PlatformCluster, namespace: str) -> list[Object]:
    found: list[Object] = platform.kubectl.json("get", "pods", f"--namespace={namespace}")["items"]
    return found


def ready_pods(platform: PlatformCluster, namespace: str, count: int) -> list[Object]:
    """Wait until so many pods are Ready, and return them."""

    def check() -> list[Object]:
        found = [pod for pod in pods(platform, namespace) if condition(pod, "Ready").get("status") == "True"]
        return found if len(found) == count else []

    return until(check, f"{count} pods were not ready", seconds=SECONDS)


def unscheduled(platform: PlatformCluster, namespace: str, name: str) -> str:
    """Wait until the scheduler gave up on a pod, and return why."""

    def check() -> str:
        found = {pod["metadata"]["name"]: pod for pod in pods(platform, namespace)}
        scheduled = condition(found.get(name, {}), "PodScheduled")
        return str(scheduled["message"]) if scheduled.get("reason") == "Unschedulable" else ""

    return until(check, f"{name} was not found unschedulable", seconds=SECONDS)


def condition(obj: Object, kind: str) -> Object:
    conditions = obj.get("status", {}).get("conditions", [])
    return next((found for found in conditions if found["type"] == kind), {})


def domain(platform: PlatformCluster, namespace: str) -> Object:
    found: Object = platform.kubectl.json("get", "computedomain", DOMAIN, f"--namespace={namespace}")
    return found


def names(platform: PlatformCluster, kinds: str, namespace: str) -> list[str]:
    return platform.kubectl.text("get", kinds, f"--namespace={namespace}", "--output=name").split()


def test_each_channel_goes_to_a_machine_of_its_own_and_what_is_left_over_waits(
    platform: PlatformCluster, namespace: str
) -> None:
    machines = platform.add_nodes(9, prefix="tray", clique=CLIQUE)
    create(platform, namespace, compute_domain(9), with_channel(10))

    running = ready_pods(platform, namespace, 9)
    assert sorted(pod["spec"]["nodeName"] for pod in running) == sorted(machines)
    claims = platform.kubectl.json("get", "resourceclaims", f"--namespace={namespace}")["items"]
    allocated = [claim["status"]["allocation"] for claim in claims if "allocation" in claim.get("status", {})]
    devices = [result for one in allocated for result in one["devices"]["results"]]
    assert sorted(device["pool"] for device in devices) == sorted(machines)
    assert {device["device"] for device in devices} == {"channel-0"}

    bound = {pod["metadata"]["name"] for pod in running}
    (waiting,) = (pod for pod in pods(platform, namespace) if pod["metadata"]["name"] not in bound)
    assert "cannot allocate all claims" in unscheduled(platform, namespace, waiting["metadata"]["name"])
    platform.add_nodes(1, prefix="tenth", clique=CLIQUE)
    ready_pods(platform, namespace, 10)


def test_the_controller_makes_the_template_and_says_which_nodes_are_in(
    platform: PlatformCluster, namespace: str
) -> None:
    first = platform.add_nodes(2, prefix="first", clique=CLIQUE)
    second = platform.add_nodes(1, prefix="second", clique="other.2")
    outside = platform.add_nodes(1, prefix="outside")
    create(platform, namespace, compute_domain(4), with_channel(4))
    ready_pods(platform, namespace, 4)
    found = domain(platform, namespace)
    template = platform.kubectl.json("get", "resourceclaimtemplate", TEMPLATE, f"--namespace={namespace}")
    assert template["metadata"]["labels"]["resource.nvidia.com/computeDomain"] == found["metadata"]["uid"]
    assert not found["status"].get("nodes")
    assert found["status"]["status"] == "NotReady"

    def entered(count: int) -> dict[str, tuple[str, str]]:
        def check() -> dict[str, tuple[str, str]]:
            nodes = domain(platform, namespace)["status"].get("nodes", [])
            found = {node["name"]: (node["cliqueID"], node["status"]) for node in nodes}
            return found if len(found) == count else {}

        return until(check, f"{count} nodes were not entered", seconds=SECONDS)

    platform.driver.simulate_daemons(namespace, DOMAIN, first)
    assert entered(2) == dict.fromkeys(first, (CLIQUE, "Ready"))
    assert domain(platform, namespace)["status"]["status"] == "NotReady"
    platform.driver.simulate_daemons(namespace, DOMAIN, [*second, *outside])
    expected = dict.fromkeys(first, (CLIQUE, "Ready")) | dict.fromkeys(second, ("other.2", "Ready"))
    assert entered(4) == expected | dict.fromkeys(outside, ("", "Ready"))
    until(lambda: domain(platform, namespace)["status"]["status"] == "Ready", "not Ready", seconds=SECONDS)
    platform.remove_nodes(first[:1])
    assert set(entered(3)) == {*first[1:], *second, *outside}


def test_daemons_that_are_not_ready_keep_the_domain_from_it(
    platform: PlatformCluster, namespace: str
) -> None:
    machines = platform.add_nodes(1, prefix="tray", clique=CLIQUE)
    create(platform, namespace, compute_domain(1))
    platform.driver.simulate_daemons(namespace, DOMAIN, machines, status="NotReady")
    nodes = until(lambda: domain(platform, namespace)["status"].get("nodes"), "none entered", seconds=SECONDS)
    assert [node["status"] for node in nodes] == ["NotReady"]
    assert domain(platform, namespace)["status"]["status"] == "NotReady"


def test_what_is_deleted_goes_away(platform: PlatformCluster, namespace: str) -> None:
    platform.add_nodes(2, prefix="tray", clique=CLIQUE)
    create(platform, namespace, compute_domain(2), with_channel(2))
    ready_pods(platform, namespace, 2)
    uid = domain(platform, namespace)["metadata"]["uid"]
    for kind, name in (("statefulset", "workload"), ("computedomain", DOMAIN)):
        platform.kubectl.text("delete", kind, name, f"--namespace={namespace}", "--timeout=60s")
    until(
        lambda: not names(platform, "pods,resourceclaims,resourceclaimtemplates", namespace),
        "pods, claims and the template were not gone",
        seconds=SECONDS,
    )
    assert not [name for name in names(platform, "daemonsets", DRIVER_NAMESPACE) if uid in name]


def test_without_its_controller_a_domain_cannot_go(platform: PlatformCluster, namespace: str) -> None:
    create(platform, namespace, compute_domain(1))
    until(
        lambda: names(platform, "resourceclaimtemplates", namespace), "no template was made", seconds=SECONDS
    )
    with platform.driver.controller_stopped():
        platform.kubectl.text("delete", "computedomain", DOMAIN, f"--namespace={namespace}", "--wait=false")
        with pytest.raises(ClusterError, match="timed out"):
            platform.kubectl.text(
                "wait", "--for=delete", f"computedomain/{DOMAIN}", f"--namespace={namespace}", "--timeout=3s"
            )
        assert domain(platform, namespace)["metadata"]["deletionTimestamp"]
        platform.driver.start_controller()
    platform.kubectl.text(
        "wait", "--for=delete", f"computedomain/{DOMAIN}", f"--namespace={namespace}", "--timeout=60s"
    )


def test_a_driver_that_is_absent_leaves_no_trace_and_comes_back(
    platform: PlatformCluster, namespace: str
) -> None:
    with platform.driver.absent():
        resources = platform.kubectl.text("get", "--raw", "/apis")
        assert "resource.nvidia.com" not in resources
        assert not platform.kubectl.text("get", "deviceclasses", "--output=name")
    create(platform, namespace, compute_domain(1))
    until(
        lambda: names(platform, "resourceclaimtemplates", namespace), "no template was made", seconds=SECONDS
    )


def test_a_driver_in_use_is_not_taken_away(platform: PlatformCluster, namespace: str) -> None:
    create(platform, namespace, compute_domain(1))
    with pytest.raises(ClusterError, match=f"in use: .*{DOMAIN}"):
        platform.driver.uninstall()


def test_machines_are_what_they_were_asked_to_be(platform: PlatformCluster, namespace: str) -> None:
    taint = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
    (name,) = platform.add_nodes(
        1,
        prefix="grace",
        labels={"kubernetes.io/arch": "arm64", "node.kubernetes.io/instance-type": "p6e-gb200.36xlarge"},
        allocatable={"nvidia.com/gpu": "4", "vpc.amazonaws.com/efa": "16"},
        taints=[taint],
        channel=False,
    )
    found = platform.kubectl.json("get", "node", name)
    assert found["metadata"]["labels"]["node.kubernetes.io/instance-type"] == "p6e-gb200.36xlarge"
    assert "nvidia.com/gpu.clique" not in found["metadata"]["labels"]
    assert found["status"]["nodeInfo"]["architecture"] == "arm64"
    assert (
        found["status"]["allocatable"].items()
        >= {"nvidia.com/gpu": "4", "vpc.amazonaws.com/efa": "16"}.items()
    )
    assert not platform.kubectl.text("get", "resourceslices", "--output=name")

    create(platform, namespace, workload(1, container={"resources": {"limits": {"nvidia.com/gpu": "4"}}}))
    assert "untolerated taint" in unscheduled(platform, namespace, "workload-0")
    platform.kubectl.text("delete", "statefulset", "workload", f"--namespace={namespace}")
    tolerations = [{"key": "nvidia.com/gpu", "operator": "Exists"}]
    limits = {"resources": {"limits": {"nvidia.com/gpu": "4"}}}
    create(platform, namespace, workload(2, container=limits, tolerations=tolerations))
    ready_pods(platform, namespace, 1)
    assert "Insufficient nvidia.com/gpu" in "".join(
        unscheduled(platform, namespace, pod["metadata"]["name"])
        for pod in pods(platform, namespace)
        if "nodeName" not in pod["spec"]
    )


def test_a_machine_that_is_removed_takes_its_pods_along(platform: PlatformCluster, namespace: str) -> None:
    first, second = platform.add_nodes(2, prefix="tray", clique=CLIQUE)
    create(platform, namespace, compute_domain(2), with_channel(2))
    (lost,) = (pod for pod in ready_pods(platform, namespace, 2) if pod["spec"]["nodeName"] == first)
    platform.remove_nodes([first])
    assert platform.node_names() == [second]
    assert "cannot allocate all claims" in unscheduled(platform, namespace, lost["metadata"]["name"])
    until(
        lambda: (
            [found["spec"]["nodeName"] for found in platform.kubectl.json("get", "resourceslices")["items"]]
            == [second]
        ),
        "the removed machine's slice was not gone",
        seconds=SECONDS,
    )
