"""Extended resources on a real kubelet: a real device plugin offers them, and pods are given them or wait.

SIMULATED are the devices alone: they have names and, for EFA and GPUs, files that lead nowhere.
"""

from collections.abc import Iterator

import pytest

from e2e.cluster_client import Kubectl, Object, eventually
from e2e.deployments import Deployment, spec
from e2e.installation import Installed, make_namespace
from testcluster.devices import extended_resources
from testcluster.session import Cluster

pytestmark = pytest.mark.cluster

NAMESPACE = "disagg-e2e-devices"
EFA = "vpc.amazonaws.com/efa"
BARE = "example.com/nic"
"""Devices whose plugin puts no file into the container, as a broken one would."""
SHOW = 'import os, time; print(os.environ["FAKE_DEVICES_VPC_AMAZONAWS_COM_EFA"]); time.sleep(600)'


@pytest.fixture(scope="module")
def fake_devices(cluster: Cluster) -> Iterator[None]:
    """A node with 8 EFA devices and 2 GPUs that do not exist."""
    if cluster.provider == "existing":
        pytest.skip("no image of the device plugin can be loaded into a cluster that already exists")
    with extended_resources(cluster, {EFA: 8, "nvidia.com/gpu": 2, BARE: 2}):
        yield


@pytest.fixture(scope="module")
def place(kubectl: Kubectl) -> Iterator[str]:
    """A namespace for plain pods."""
    yield make_namespace(kubectl, NAMESPACE)
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def pod(name: str, image: str, limits: dict[str, str]) -> Object:
    security = {
        "runAsNonRoot": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {
        "name": "main",
        "image": image,
        "command": ["python", "-c", SHOW],
        "resources": {"limits": limits},
        "securityContext": security,
    }
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def unschedulable(kubectl: Kubectl, name: str) -> str:
    """Return why a pod is not scheduled, once the scheduler says so."""

    def check() -> str:
        conditions = kubectl.get("pod", name, NAMESPACE)["status"].get("conditions", [])
        told = [found["message"] for found in conditions if found.get("reason") == "Unschedulable"]
        assert told, f"the scheduler says nothing about {name}"
        return str(told[0])

    return eventually(check, 60)


@pytest.mark.usefixtures("fake_devices")
def test_devices_are_given_to_pods_and_more_than_are_left_to_none(
    cluster: Cluster, kubectl: Kubectl, place: str
) -> None:
    (node,) = kubectl.json("get", "nodes")["items"]
    assert node["status"]["allocatable"].items() >= {EFA: "8", "nvidia.com/gpu": "2"}.items()

    image = cluster.images["operator"]
    kubectl.apply_to(place, pod("four", image, {EFA: "4"}))
    kubectl("wait", "--for=condition=Ready", "pod/four", f"--namespace={place}", "--timeout=30s")
    (line,) = kubectl("logs", "four", f"--namespace={place}").splitlines()
    given = line.split(",")
    assert len(set(given)) == 4
    assert set(given) <= {f"efa-{index}" for index in range(8)}

    kubectl.apply_to(place, pod("six", image, {EFA: "6", "nvidia.com/gpu": "1"}))
    assert f"Insufficient {EFA}" in unschedulable(kubectl, "six")
    kubectl("delete", "pod", "four", f"--namespace={place}")
    kubectl("wait", "--for=condition=Ready", "pod/six", f"--namespace={place}", "--timeout=30s")
    kubectl("delete", "pod", "six", f"--namespace={place}")


@pytest.mark.usefixtures("fake_devices")
def test_a_pod_that_wants_more_devices_than_there_are_says_so(
    cluster: Cluster, kubectl: Kubectl, place: str
) -> None:
    kubectl.apply_to(place, pod("nine", cluster.images["operator"], {EFA: "9"}))
    assert f"Insufficient {EFA}" in unschedulable(kubectl, "nine")
    assert kubectl.get("pod", "nine", place)["status"]["phase"] == "Pending"


def with_devices(count: int, resource: str = EFA) -> Object:
    """Return a profile of a machine that gives its pods devices; KV cache goes over TCP still."""
    return {"like": "local", "devices": [{"name": resource, "per_pod": count}]}


@pytest.mark.usefixtures("fake_devices")
def test_the_workers_of_a_deployment_get_their_platforms_devices(installed: Installed, place: str) -> None:
    kubectl = installed.kubectl
    kubectl.apply_to(place, spec("on-efa", platformProfile=with_devices(4)))
    deployment = Deployment(kubectl, place, "on-efa")
    deployment.wait_complete()
    assert deployment.condition("PlatformReady")["status"] == "True"
    workers = [pod for pod in deployment.children("pods") if "frontend" not in pod["metadata"]["name"]]
    asked = [pod["spec"]["containers"][0]["resources"] for pod in workers]
    assert [(each["requests"][EFA], each["limits"][EFA]) for each in asked] == [("4", "4")] * 2
    kubectl.apply_to(place, pod("five", installed.images["operator"], {EFA: "5"}))
    assert f"Insufficient {EFA}" in unschedulable(kubectl, "five"), "the workers hold all devices"
    deployment.delete()
    kubectl("delete", "pod", "five", f"--namespace={place}")


@pytest.mark.usefixtures("fake_devices")
def test_a_worker_that_lacks_its_device_stops_before_its_engine_and_says_so(
    installed: Installed, place: str
) -> None:
    kubectl = installed.kubectl
    kubectl.apply_to(place, spec("on-bare", platformProfile=with_devices(1, BARE)))
    deployment = Deployment(kubectl, place, "on-bare")

    def told() -> None:
        progressing = deployment.condition("Progressing")
        assert (
            "lacks what its engine needs: fabricDevices: 0 of 1 fabric devices are in the container"
            in progressing["message"]
        )

    eventually(told, 60)
    status = kubectl.get("dd", "on-bare", place)["status"]
    assert status["roles"]["prefill"]["preflight"].startswith("fabricDevices: 0 of 1 fabric devices")
    workers = [pod for pod in deployment.children("pods") if "frontend" not in pod["metadata"]["name"]]
    started = [each for pod in workers for each in pod["status"]["containerStatuses"] if each.get("started")]
    assert started == [], "no engine starts"
    deployment.delete()


@pytest.mark.usefixtures("fake_devices")
def test_a_quota_that_refuses_workers_is_named_until_it_is_gone(installed: Installed, place: str) -> None:
    kubectl = installed.kubectl
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "no-efa"}}
    kubectl.apply_to(place, {**quota, "spec": {"hard": {f"requests.{EFA}": "0"}}})
    kubectl.apply_to(place, spec("over-quota", platformProfile=with_devices(4)))
    deployment = Deployment(kubectl, place, "over-quota")

    def named() -> None:
        assert "exceeded quota: no-efa" in deployment.condition("Available")["message"]

    eventually(named, 60)
    kubectl("delete", "resourcequota", "no-efa", f"--namespace={place}")
    deployment.wait_complete()
    deployment.delete()


@pytest.mark.usefixtures("fake_devices")
def test_more_devices_than_the_node_has_are_named_with_the_number_to_write(
    installed: Installed, place: str
) -> None:
    installed.kubectl.apply_to(place, spec("too-many", platformProfile=with_devices(9)))
    deployment = Deployment(installed.kubectl, place, "too-many")
    condition = deployment.wait("PlatformReady", "False", timeout=60)
    assert condition["reason"] == "DeviceCountTooHigh"
    assert EFA in condition["message"]
    assert "8" in condition["message"]
    deployment.delete()


@pytest.mark.usefixtures("fake_devices")
def test_privileged_workers_are_not_started_in_a_namespace_that_refuses_them(
    installed: Installed, place: str
) -> None:
    profile = {**with_devices(4), "fabrics": ["efa"]}
    installed.kubectl.apply_to(place, spec("refused", platformProfile=profile))
    deployment = Deployment(installed.kubectl, place, "refused")
    condition = deployment.wait("PlatformReady", "False", timeout=60)
    assert condition["reason"] == "PodSecurity"
    assert (
        f"kubectl label namespace {place} pod-security.kubernetes.io/enforce=privileged"
        in condition["message"]
    )
    assert deployment.condition("Progressing")["reason"] == "PlatformNotReady"
    assert not [each for each in deployment.children() if each["kind"] == "StatefulSet"]
    deployment.delete()


def test_claims_that_are_not_there_are_named(installed: Installed, place: str) -> None:
    claims = [
        {"name": "nic", "resourceClaimTemplateName": "nics"},
        {"name": "disk", "resourceClaimName": "scratch"},
    ]
    role = {"podTemplate": {"spec": {"resourceClaims": claims}}}
    installed.kubectl.apply_to(place, spec("claiming", prefill=role))
    deployment = Deployment(installed.kubectl, place, "claiming")
    condition = deployment.wait("PlatformReady", "False", timeout=60)
    assert condition["reason"] == "ClaimMissing"
    assert "claim ResourceClaimTemplate nics, and namespace" in condition["message"]
    assert "claim ResourceClaim scratch, and namespace" in condition["message"]
    deployment.delete()
