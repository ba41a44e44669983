"""PlatformReady on a real API server, with Node objects made by hand: no kubelet stands behind them."""

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from integration.operator.control_plane import Api, Deployed, Object, OperatorProcess, eventually

pytestmark = pytest.mark.apiserver

EFA = "vpc.amazonaws.com/efa"
P5 = {"node.kubernetes.io/instance-type": "p5.48xlarge", "topology.kubernetes.io/zone": "us-east-1a"}
FULL = {"cpu": "192", "memory": "1900Gi", "nvidia.com/gpu": "8", EFA: "32"}
ENFORCE = "pod-security.kubernetes.io/enforce"
DONE = 'disagg_reconciles_total{result="done"}'
SPEC: Object = {
    "platform": "aws-p5.48xlarge",
    "runtime": {"engine": "trtllm"},
    "prefill": {"parallelism": {"tensor": 4}},
    "decode": {"parallelism": {"tensor": 8}},
    "frontend": {"resources": {"requests": {"cpu": "1"}}},
}


@dataclass
class Machines:
    """Makes Node objects and removes them."""

    api: Api
    made: list[str] = field(default_factory=list)

    def add(self, labels: Object | None = None, allocatable: Object | None = None, **spec: Any) -> str:
        name = f"machine-{secrets.token_hex(3)}"
        node = {
            "metadata": {"name": name, "labels": {**P5, **(labels or {})}},
            "spec": spec,
            "status": {
                "allocatable": {**FULL, **(allocatable or {})},
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        }
        self.api.http.post("/api/v1/nodes", json=node).raise_for_status()
        self.made.append(name)
        # The admission plugin TaintNodesByCondition taints each new node until a controller finds it ready.
        self.patch(name, {"spec": {"taints": spec.get("taints")}})
        return name

    def patch(self, name: str, patch: Object, subresource: str = "") -> None:
        self.api.patch_at(f"/api/v1/nodes/{name}{subresource}", patch)

    def offer(self, name: str, **allocatable: str) -> None:
        self.patch(name, {"status": {"allocatable": allocatable}}, "/status")


@pytest.fixture
def machines(api: Api) -> Iterator[Machines]:
    """A maker of Node objects, which go with the test."""
    found = Machines(api)
    yield found
    for name in found.made:
        api.http.delete(f"/api/v1/nodes/{name}").raise_for_status()


@pytest.fixture
def deployed(demo: Deployed, machines: Machines) -> Deployed:
    """A deployment for p5 on a cluster that is ready for it but for what the test changes."""
    machines.add({"node.kubernetes.io/instance-type": "m5.4xlarge"}, {EFA: "0", "nvidia.com/gpu": "0"})
    return demo


def ready(demo: Deployed, reason: str) -> str:
    """Wait for a reason of PlatformReady, and return the message."""
    eventually(lambda: demo.condition("PlatformReady")["reason"] == reason, f"PlatformReady is {reason}")
    found: str = demo.condition("PlatformReady")["message"]
    return found


def enforce(demo: Deployed, standard: str | None) -> None:
    """Let the namespace enforce a Pod Security Standard, or none."""
    patch = {"metadata": {"labels": {ENFORCE: standard}}}
    demo.api.patch_at(f"/api/v1/namespaces/{demo.namespace}", patch)


def test_without_a_node_of_the_platform_objects_are_made_and_wait_for_it(
    deployed: Deployed, machines: Machines
) -> None:
    deployed.create(**SPEC)
    message = ready(deployed, "NoMatchingNode")
    assert (
        "node.kubernetes.io/instance-type=p5.48xlarge, and no node has that (there is m5.4xlarge)" in message
    )
    assert len(deployed.find("statefulsets")) == 2
    machines.add()
    assert "The workers need 2 nodes (1 for prefill and 1 for decode), and 1 fit" in ready(
        deployed, "TooFewNodes"
    )
    machines.add()
    ready(deployed, "PlatformReady")
    told = {"NoMatchingNode", "TooFewNodes", "PlatformReady"}
    eventually(
        lambda: told <= {each["reason"] for each in deployed.api.find("events", deployed.namespace)},
        "each change is an Event",
    )


def test_a_device_plugin_that_is_absent_and_one_with_fewer_devices(
    deployed: Deployed, machines: Machines
) -> None:
    nodes = [machines.add(allocatable={EFA: "0"}) for _ in range(2)]
    deployed.create(**SPEC)
    assert "helm install aws-efa-k8s-device-plugin" in ready(deployed, "DeviceMissing")
    for name in nodes:
        machines.offer(name, **{EFA: "16"})
    message = ready(deployed, "DeviceCountTooHigh")
    assert (
        "Each of the decode pods asks for vpc.amazonaws.com/efa 32, and no node offers more than 16"
        in message
    )
    deployed.edit(decode={"devices": {EFA: 16}})
    ready(deployed, "PlatformReady")


def test_a_taint_is_named_with_its_toleration(deployed: Deployed, machines: Machines) -> None:
    for _ in range(2):
        machines.add(taints=[{"key": "team", "value": "vision", "effect": "NoSchedule"}])
    deployed.create(**SPEC)
    message = ready(deployed, "TaintsNotTolerated")
    assert "{key: team, operator: Equal, value: vision, effect: NoSchedule}" in message
    deployed.edit(placement={"tolerations": [{"key": "team", "operator": "Exists"}]})
    ready(deployed, "PlatformReady")


def test_a_namespace_that_refuses_every_pod_holds_the_first_revision(
    deployed: Deployed, machines: Machines
) -> None:
    for _ in range(2):
        machines.add()
    enforce(deployed, "baseline")
    try:
        deployed.create(**SPEC)
        message = ready(deployed, "PodSecurity")
        assert f"kubectl label namespace {deployed.namespace} {ENFORCE}=privileged --overwrite" in message
        assert deployed.condition("Progressing")["reason"] == "PlatformNotReady"
        assert not any(deployed.children().values())
    finally:
        enforce(deployed, None)
    ready(deployed, "PlatformReady")
    eventually(lambda: len(deployed.find("statefulsets")) == 2, "it goes on by itself")


def test_a_running_deployment_is_left_alone_whatever_the_cluster_becomes(
    deployed: Deployed, machines: Machines
) -> None:
    nodes = [machines.add() for _ in range(2)]
    deployed.create(**SPEC)
    ready(deployed, "PlatformReady")
    before = deployed.children()
    enforce(deployed, "restricted")
    try:
        ready(deployed, "PodSecurity")
        for name in nodes:
            machines.patch(name, {"spec": {"unschedulable": True}})
        eventually(
            lambda: f"kubectl uncordon {min(nodes)}" in deployed.condition("PlatformReady")["message"],
            "the cordoned nodes are named",
        )
        assert deployed.children() == before
        deployed.edit(rollout={"strategy": "Recreate"}, env=[{"name": "LEVEL", "value": "debug"}])
        eventually(
            lambda: deployed.condition("Progressing")["reason"] == "PlatformNotReady",
            "the new revision is held",
        )
        assert deployed.children() == before, "the old one was not removed for one that could not come up"
    finally:
        enforce(deployed, None)
    eventually(lambda: deployed.children() != before, "the new revision takes its turn")


def test_a_quota_that_refuses_pods_is_told_though_only_events_know(demo: Deployed) -> None:
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    demo.api.create("resourcequotas", demo.namespace, quota)
    try:
        # A quota counts from when its controller has seen it.
        eventually(
            lambda: demo.api.get("resourcequotas", demo.namespace, "none").get("status", {}).get("hard"),
            "the quota is in force",
        )
        demo.create()

        def message() -> str:
            found: str = demo.condition("Available")["message"]
            return found

        refused = "The API server refuses further pods: pods "
        eventually(lambda: message().count(refused) == 3, "each role says what refuses it")
        assert "is forbidden: exceeded quota: none, requested: pods=1" in message()
        assert "See: kubectl describe statefulset" in message()
        assert "See: kubectl describe deployment" in message()
    finally:
        demo.api.delete("resourcequotas", demo.namespace, "none")
    demo.wait_for("Progressing", "Complete")


def test_heartbeats_of_nodes_cause_no_reconcile(
    deployed: Deployed, machines: Machines, operator: OperatorProcess
) -> None:
    nodes = [machines.add() for _ in range(2)]
    deployed.create(**SPEC)
    ready(deployed, "PlatformReady")

    def reconciles() -> str:
        text = operator.says("/metrics")
        return next(line for line in text.splitlines() if line.startswith(DONE))

    def idle() -> str:
        before = reconciles()
        time.sleep(4)
        return before if reconciles() == before else ""

    settled = eventually(idle, "the operator is idle")
    for name in nodes * 3:
        condition = {"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}
        images = [{"names": [secrets.token_hex(4)], "sizeBytes": 1}]
        machines.patch(name, {"status": {"conditions": [condition], "images": images}}, "/status")
    time.sleep(4)
    assert reconciles() == settled
