"""Preflight: each check with the sentence that it gives, and the clusters on which it keeps quiet."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from disagg_operator.api.parse import accept
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.model import Plan
from disagg_operator.plan.planner import plan
from disagg_operator.platforms.catalogue import builtin
from disagg_operator.platforms.prerequisites import provider_of
from disagg_operator.reconcile.kinds import CLAIM_TEMPLATE, COMPUTE_DOMAIN, Kind, Object
from disagg_operator.reconcile.preflight.checks import assess
from disagg_operator.reconcile.preflight.fault import Assessment, Check, Domains
from disagg_operator.reconcile.preflight.needs import CHANNEL_CLASS, WORKER_METADATA, needs_of
from disagg_operator.reconcile.preflight.snapshot import ClusterSnapshot, Found, Named, Node, node_of
from unit.reconcile.fake_cluster import deployment

DOCS = Path(__file__).parents[3] / "docs" / "preflight.md"
EFA, GPU, CLIQUE = "vpc.amazonaws.com/efa", "nvidia.com/gpu", "nvidia.com/gpu.clique"
P5 = {"node.kubernetes.io/instance-type": "p5.48xlarge", "topology.kubernetes.io/zone": "us-east-1a"}
CPU = {"cpu": "64", "memory": "256Gi"}
FULL = {**CPU, "cpu": "192", "memory": "1900Gi", GPU: "8", EFA: "32"}
ALL_SERVED = {WORKER_METADATA: True, COMPUTE_DOMAIN: True, CLAIM_TEMPLATE: True}


def machine(
    name: str,
    labels: dict[str, str] | None = None,
    allocatable: dict[str, str] | None = None,
    *,
    taints: Sequence[Object] = (),
    cordoned: bool = False,
    ready: bool = True,
) -> Node:
    """A node, from an object in the shape of the API server's."""
    return node_of(
        {
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}},
            "spec": {"unschedulable": cordoned, "taints": list(taints)},
            "status": {
                "allocatable": {**(allocatable or CPU), "pods": "110"},
                "conditions": [{"type": "Ready", "status": str(ready)}],
            },
        }
    )


def p5(
    name: str,
    zone: str = "us-east-1a",
    *,
    taints: Sequence[Object] = (),
    allocatable: dict[str, str] | None = None,
) -> Node:
    labels = {**P5, "topology.kubernetes.io/zone": zone}
    return machine(name, labels, {**FULL, **(allocatable or {})}, taints=taints)


def cluster(*nodes: Node, enforced: str = "", served: dict[Kind, bool] | None = None) -> ClusterSnapshot:
    return ClusterSnapshot(nodes, enforced, frozenset({CHANNEL_CLASS}), ALL_SERVED | (served or {}))


def efa(**spec: Any) -> Plan:
    """Return a plan on p5: two prefill pods of four GPUs, one decode pod of eight."""
    roles = {
        "prefill": {"replicas": 2, "parallelism": {"tensor": 4}},
        "decode": {"replicas": 1, "parallelism": {"tensor": 8}},
    }
    return on("aws-p5.48xlarge", **{**roles, **spec})


def on(platform: str, **spec: Any) -> Plan:
    resource = deployment(platform=platform, runtime={"engine": "trtllm"}, **spec)
    resource["spec"]["model"]["source"] = {"huggingFace": {"repository": "org/m"}}
    return plan(accept(resource), Installation("w:1"))


def nvl72(platform: str = "gb200-nvl72", *, prefill: int = 1, decode: int = 2) -> Plan:
    """Return a plan whose workers hold a channel of a ComputeDomain each."""
    return on(
        platform,
        prefill={"replicas": prefill, "parallelism": {"tensor": 4}},
        decode={"replicas": decode, "parallelism": {"tensor": 4}},
    )


def tray(
    name: str, clique: str | None = "rack-1", more: dict[str, str] | None = None, **allocatable: str
) -> Node:
    labels = {"kubernetes.io/arch": "arm64", **({CLIQUE: clique} if clique else {}), **(more or {})}
    return machine(name, labels, {"cpu": "144", "memory": "900Gi", GPU: "4", **allocatable})


def rack(*, lacks: Kind | None = None) -> ClusterSnapshot:
    """Return three trays of one rack, whose API server may not serve a kind."""
    trays = [tray(f"t{n}") for n in range(3)]
    return cluster(ROOM, *trays, served={} if lacks is None else {lacks: False})


def found(made: Plan, around: ClusterSnapshot) -> Assessment:
    return assess(needs_of(made), around)


def the_fault(made: Plan, around: ClusterSnapshot) -> tuple[str, str]:
    """Return check and message of the only fault."""
    assessment = found(made, around)
    assert len(assessment.faults) == 1, [str(fault) for fault in assessment.faults]
    assert not assessment.unknown
    (fault,) = assessment.faults
    assert fault.source
    return fault.check.value, fault.message


ROOM = machine("cpu")
DRIVER = (
    "helm install dra-driver-nvidia-gpu oci://registry.k8s.io/dra-driver-nvidia/charts/dra-driver-nvidia-gpu "
    "--namespace dra-driver-nvidia-gpu --create-namespace --set resources.gpus.enabled=false"
)
TAINT = {"key": "team", "value": "vision", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("made", "around"),
    [
        pytest.param(plan(accept(deployment()), Installation("w:1")), cluster(ROOM), id="ordinary"),
        pytest.param(
            plan(accept(deployment(platform="generic")), Installation("w:1")),
            cluster(ROOM, enforced="restricted"),
            id="restricted namespace",
        ),
        pytest.param(efa(), cluster(ROOM, p5("a"), p5("b")), id="p5"),
        pytest.param(
            efa(),
            cluster(ROOM, p5("a"), p5("b"), p5("c", allocatable={EFA: "0"}), enforced="privileged"),
            id="spare",
        ),
        pytest.param(
            efa(),
            cluster(ROOM, *(p5(f"{zone}{n}", f"us-east-1{zone}") for zone in "ab" for n in range(2))),
            id="one of two zones is enough",
        ),
        pytest.param(nvl72(), rack(), id="one rack"),
        pytest.param(
            efa(placement={"tolerations": [{"key": "team", "operator": "Exists"}]}),
            cluster(ROOM, p5("a", taints=[TAINT]), p5("b", taints=[TAINT])),
            id="tolerated",
        ),
    ],
)
def test_a_cluster_that_fits_is_ready(made: Plan, around: ClusterSnapshot) -> None:
    assert found(made, around) == Assessment()


@pytest.mark.parametrize(
    ("made", "around", "check", "message"),
    [
        pytest.param(
            efa(),
            cluster(),
            "NoNodes",
            "The cluster has no nodes. Add some. See: kubectl get nodes",
            id="none",
        ),
        pytest.param(
            efa(),
            cluster(machine("a", {"node.kubernetes.io/instance-type": "m5.large"})),
            "NoMatchingNode",
            "Prefill and decode pods need a node with node.kubernetes.io/instance-type=p5.48xlarge, and no "
            "node has that (there is m5.large). Add such nodes, or change spec.platform or spec.placement. "
            "See: kubectl get nodes -L node.kubernetes.io/instance-type",
            id="other machines",
        ),
        pytest.param(
            efa(placement={"nodeSelector": {"pool": "llm"}}),
            cluster(ROOM, p5("a")),
            "NoMatchingNode",
            "Prefill, decode and frontend pods need a node with pool=llm, and no node has that (none has "
            "the label pool). Add such nodes, or change spec.platform or spec.placement. See: kubectl get "
            "nodes -L pool",
            id="label of the user's",
        ),
        pytest.param(
            efa(),
            cluster(ROOM, *(p5(name, allocatable={EFA: "0"}) for name in "abcde")),
            "DeviceMissing",
            "Prefill and decode pods ask for vpc.amazonaws.com/efa, and none of their nodes offers it (a, "
            "b, c and 2 more). It comes with the AWS EFA device plugin. Run: helm install "
            "aws-efa-k8s-device-plugin aws-efa-k8s-device-plugin --repo https://aws.github.io/eks-charts "
            "--namespace kube-system",
            id="no EFA plugin",
        ),
        pytest.param(
            efa(),
            cluster(ROOM, p5("a", allocatable={GPU: "0"}), p5("b", allocatable={GPU: "0"})),
            "DeviceMissing",
            "Prefill and decode pods ask for nvidia.com/gpu, and none of their nodes offers it (a, b). It "
            "comes with NVIDIA's GPU Operator. Run: helm install gpu-operator gpu-operator --repo "
            "https://helm.ngc.nvidia.com/nvidia --namespace gpu-operator --create-namespace",
            id="no GPU plugin",
        ),
        pytest.param(
            efa(prefill={"devices": {EFA: 4}, "parallelism": {"tensor": 4}}),
            cluster(ROOM, p5("a", allocatable={EFA: "16"}), p5("b", allocatable={EFA: "17"})),
            "DeviceCountTooHigh",
            "Each of the decode pods asks for vpc.amazonaws.com/efa 32, and no node offers more than 17. "
            "Write spec.decode.devices: {vpc.amazonaws.com/efa: 17}, or give the nodes as many as their "
            "machine has (on AWS, the launch template decides)",
            id="fewer EFA devices than the machine has",
        ),
        pytest.param(
            efa(),
            cluster(ROOM, p5("a", allocatable={GPU: "4"})),
            "DeviceCountTooHigh",
            "Each of the decode pods asks for nvidia.com/gpu 8, and no node offers more than 4. Write "
            "spec.decode.gpusPerNode: 4 or less, with a parallelism and nodesPerReplica that fit",
            id="fewer GPUs",
        ),
        pytest.param(
            efa(prefill={"parallelism": {"tensor": 4}, "resources": {"requests": {"memory": "2Ti"}}}),
            cluster(ROOM, p5("a"), p5("b")),
            "ResourcesTooLarge",
            "Each of the prefill pods asks for memory 2048Gi (2048Gi and 48Mi of the transport agent beside "
            "its engine), and no node offers more than 1900Gi. Lower spec.prefill.resources by memory "
            "151600Mi at least, or add larger nodes",
            id="memory",
        ),
        pytest.param(
            efa(
                prefill={"parallelism": {"tensor": 4}, "resources": {"requests": {"cpu": "192"}}},
                verification={"mode": "Warn"},
            ),
            cluster(ROOM, p5("a"), p5("b")),
            "ResourcesTooLarge",
            "Each of the prefill pods asks for cpu 192.01 (192 and 0.01 of the transport agent beside its "
            "engine), and no node offers more than 192. Lower spec.prefill.resources by cpu 0.01 at least, "
            "or add larger nodes",
            id="CPU but for the agent's",
        ),
        pytest.param(
            efa(
                prefill={"parallelism": {"tensor": 4}, "resources": {"requests": {"cpu": "193"}}},
                verification={"mode": "Off"},
            ),
            cluster(ROOM, p5("a"), p5("b")),
            "ResourcesTooLarge",
            "Each of the prefill pods asks for cpu 193, and no node offers more than 192. Lower "
            "spec.prefill.resources by cpu 1 at least, or add larger nodes",
            id="CPU without an agent",
        ),
        pytest.param(
            efa(),
            cluster(ROOM, p5("a", taints=[TAINT]), p5("b", taints=[TAINT])),
            "TaintsNotTolerated",
            "Prefill and decode pods do not tolerate the taint team=vision:NoSchedule of a, b. Add to "
            "spec.placement.tolerations: {key: team, operator: Equal, value: vision, effect: NoSchedule}",
            id="taint",
        ),
        pytest.param(
            efa(),
            cluster(ROOM, machine("a", P5, FULL, cordoned=True), machine("b", P5, FULL, cordoned=True)),
            "NodesUnavailable",
            "The only nodes for prefill and decode pods are cordoned: a, b. Run: kubectl uncordon a",
            id="cordoned",
        ),
        pytest.param(
            efa(),
            cluster(ROOM, machine("a", P5, FULL, ready=False)),
            "NodesUnavailable",
            "The only nodes for prefill and decode pods are not ready: a. See: kubectl describe node a",
            id="not ready",
        ),
        pytest.param(
            efa(),
            cluster(ROOM, p5("a")),
            "TooFewNodes",
            "The workers need 2 nodes (1 for prefill and 1 for decode), and 1 fit. EFA has no intra-host "
            "loopback; a read between two pods of one node retries for ever. Add nodes, or lower the "
            "replicas",
            id="each role needs a node of its own",
        ),
        pytest.param(
            efa(decode={"replicas": 3, "parallelism": {"tensor": 8}}),
            cluster(ROOM, p5("a"), p5("b"), p5("c", allocatable={EFA: "0"})),
            "TooFewNodes",
            "The deployment has 3 decode pods, and there is room for 2 on the 2 nodes that would do. "
            "Not counted: no vpc.amazonaws.com/efa: c. Add nodes, or lower the replicas",
            id="too few nodes",
        ),
        pytest.param(
            efa(),
            cluster(ROOM, p5("a"), p5("b", "us-east-1b")),
            "NoLargeDomain",
            "All workers share one value of the node label topology.kubernetes.io/zone, and none has room "
            "for all. EFA traffic does not cross availability zones. The largest is us-east-1b: the workers "
            "need 2 nodes (1 for prefill and 1 for decode), and 1 fit. EFA has no intra-host loopback; a "
            "read between two pods of one node retries for ever. Lower the replicas, add nodes there, or "
            "write another spec.placement.topologyKey",
            id="no zone has all",
        ),
        pytest.param(
            nvl72(),
            cluster(ROOM, *(tray(f"t{n}", clique=None) for n in range(3))),
            "NoLargeDomain",
            "All workers share one value of the node label nvidia.com/gpu.clique, and none of their nodes "
            "has that label (t0, t1, t2). NVLink reaches the nodes of one clique and no others, and prefill "
            "and decode are both on it. It comes with NVIDIA's GPU Operator. Run: helm install gpu-operator "
            "gpu-operator --repo https://helm.ngc.nvidia.com/nvidia --namespace gpu-operator "
            "--create-namespace",
            id="no clique label",
        ),
        pytest.param(
            nvl72(prefill=2, decode=2),
            cluster(
                ROOM, tray("a"), tray("b"), tray("c", "rack-2"), tray("d", "rack-2"), tray("e", "rack-2")
            ),
            "NoLargeDomain",
            "All workers share one value of the node label nvidia.com/gpu.clique, and none has room for "
            "all. NVLink reaches the nodes of one clique and no others, and prefill and decode are both on "
            "it. The largest is rack-2: the workers need 4 nodes (2 for prefill and 2 for decode), and 3 "
            "fit. A node has one channel of its NVLink domain. Lower the replicas, add nodes there, or "
            "write another spec.placement.topologyKey",
            id="no rack has all",
        ),
        pytest.param(
            efa(),
            cluster(ROOM, p5("a"), p5("b"), enforced="baseline"),
            "PodSecurity",
            "Namespace ns enforces the Pod Security Standard 'baseline', which refuses all prefill and "
            "decode pods: a privileged container, capability SYS_PTRACE. Run: kubectl label namespace ns "
            "pod-security.kubernetes.io/enforce=privileged --overwrite",
            id="baseline",
        ),
        pytest.param(
            efa(security={"mode": "IpcLock"}),
            cluster(ROOM, p5("a"), p5("b"), enforced="baseline"),
            "PodSecurity",
            "Namespace ns enforces the Pod Security Standard 'baseline', which refuses all prefill and "
            "decode pods: capability IPC_LOCK, capability SYS_RESOURCE, capability SYS_PTRACE. Run: kubectl "
            "label namespace ns pod-security.kubernetes.io/enforce=privileged --overwrite",
            id="IPC_LOCK alone breaks baseline",
        ),
        pytest.param(
            on("generic", prefill={"parallelism": {"tensor": 1}}, decode={"parallelism": {"tensor": 1}}),
            cluster(machine("g", {}, FULL), enforced="restricted"),
            "PodSecurity",
            "Namespace ns enforces the Pod Security Standard 'restricted', which refuses all prefill and "
            "decode pods: a container that may run as root. Run: kubectl label namespace ns "
            "pod-security.kubernetes.io/enforce=baseline --overwrite",
            id="images with a user of their own",
        ),
        pytest.param(
            efa(),
            cluster(ROOM, p5("a"), p5("b"), served={WORKER_METADATA: False}),
            "ApiMissing",
            "The API server does not serve DynamoWorkerMetadata (nvidia.com/v1alpha1). It comes with "
            "Dynamo's custom resource. Run: helm upgrade RELEASE CHART --reuse-values --set "
            "dynamo.crd.enabled=true (in the chart of this operator, unless dynamo.crd.enabled=false)",
            id="Dynamo's kind",
        ),
        pytest.param(
            nvl72(),
            rack(lacks=COMPUTE_DOMAIN),
            "ApiMissing",
            "The API server does not serve ComputeDomain (resource.nvidia.com/v1beta1). It comes with "
            "NVIDIA's DRA driver. Run: " + DRIVER,
            id="no DRA driver",
        ),
        pytest.param(
            nvl72(),
            rack(lacks=CLAIM_TEMPLATE),
            "ApiMissing",
            "The API server does not serve ResourceClaimTemplate (resource.k8s.io/v1). It comes with "
            "Kubernetes 1.34 or newer. Run: kubectl version (Dynamic Resource Allocation is served as "
            "resource.k8s.io/v1 from 1.34 on)",
            id="old Kubernetes",
        ),
        pytest.param(
            nvl72(),
            replace(rack(), device_classes=frozenset()),
            "DeviceClassMissing",
            "There is no DeviceClass compute-domain-default-channel.nvidia.com, which the workers' claims "
            "ask for. It comes with NVIDIA's DRA driver. Run: " + DRIVER,
            id="DRA driver half removed",
        ),
    ],
)
def test_each_fault_has_its_sentence(made: Plan, around: ClusterSnapshot, check: str, message: str) -> None:
    assert the_fault(made, around) == (check, message)


def test_a_domain_that_is_too_small_for_all_is_told_while_another_has_room() -> None:
    racks = [tray("a", "rack-1"), *(tray(f"b{n}", "rack-2") for n in range(3))]
    around = cluster(ROOM, *racks)
    assessment = found(nvl72(), around)
    assert not assessment.faults
    assert assessment.remarks == (
        "All workers share one value of the node label nvidia.com/gpu.clique. rack-1 has no room for all of "
        "them, and if the scheduler puts the first worker there, the rest waits. Write "
        "spec.placement.nodeSelector: {nvidia.com/gpu.clique: rack-2}.",
    )
    assert assessment.domains == Domains(CLIQUE, ("rack-2",), ("rack-1",))
    more = [tray(f"c{n}", "rack-3") for n in range(3)]
    assert "(there is room in rack-2, rack-3)" in found(nvl72(), cluster(ROOM, *racks, *more)).remarks[0]


def test_a_domain_that_the_user_chose_is_not_remarked() -> None:
    made = on(
        "gb200-nvl72",
        prefill={"parallelism": {"tensor": 4}},
        decode={"replicas": 2, "parallelism": {"tensor": 4}},
        placement={"nodeSelector": {CLIQUE: "rack-2"}},
    )
    racks = [tray("a", "rack-1"), *(tray(f"b{n}", "rack-2") for n in range(3))]
    # The frontend goes to the same place, as spec.placement says of all pods.
    assert found(made, cluster(*racks)) == Assessment()


CLAIMING = {"podTemplate": {"spec": {"resourceClaims": [{"name": "n", "resourceClaimTemplateName": "nics"}]}}}
NICS = Named(CLAIM_TEMPLATE, "nics")


def claiming() -> Plan:
    """Return a plan on a rack whose prefill pods claim something beside their channel."""
    return on(
        "gb200-nvl72",
        prefill={"parallelism": {"tensor": 4}, **CLAIMING},
        decode={"parallelism": {"tensor": 4}},
    )


def test_what_the_operator_waits_for_itself_is_no_claim_to_look_for() -> None:
    assert needs_of(nvl72()).claims == {}
    assert needs_of(claiming()).claims == {NICS: ("prefill",)}


def test_claims_that_are_missing_unread_or_channels_of_others_are_told() -> None:
    rack = cluster(ROOM, tray("a"), tray("b"))
    assert found(claiming(), replace(rack, claims={NICS: Found(there=True)})) == Assessment()
    check, message = the_fault(claiming(), replace(rack, claims={NICS: Found(there=False)}))
    assert check == "ClaimMissing"
    assert "Prefill pods claim ResourceClaimTemplate nics, and namespace ns has none" in message
    check, message = the_fault(claiming(), replace(rack, claims={NICS: Found(True, "uid-7")}))
    assert check == "SecondChannel"
    assert "channels of the ComputeDomain with UID uid-7, and a node has one channel" in message
    assert found(claiming(), rack).unknown == (
        "The API server did not say whether there is ResourceClaimTemplate nics.",
    )


def test_a_channel_of_another_domain_is_fine_where_the_operator_gives_none() -> None:
    made = on(
        "gb200-nvl72",
        prefill={"parallelism": {"tensor": 4}, **CLAIMING},
        decode={"parallelism": {"tensor": 4}, **CLAIMING},
        computeDomain={"enabled": False},
    )
    rack = replace(cluster(ROOM, tray("a"), tray("b")), claims={NICS: Found(True, "uid-7")})
    assert found(made, rack) == Assessment()


def test_where_claims_are_not_served_that_is_told_alone() -> None:
    without = replace(
        cluster(ROOM, tray("a"), tray("b"), served={CLAIM_TEMPLATE: False}),
        claims={NICS: Found(there=False)},
    )
    assert the_fault(claiming(), without)[0] == "ApiMissing"


def test_huge_pages_that_no_node_has_are_a_missing_device() -> None:
    resources = {"requests": {"memory": "64Gi", "hugepages-2Mi": "5Gi"}, "limits": {"hugepages-2Mi": "5Gi"}}
    made = efa(prefill={"parallelism": {"tensor": 4}, "resources": resources})
    check, message = the_fault(made, cluster(ROOM, p5("a"), p5("b")))
    assert check == "DeviceMissing"
    assert "Prefill pods ask for hugepages-2Mi" in message
    check, message = the_fault(made, cluster(ROOM, p5("a", allocatable={"hugepages-2Mi": "1Gi"}), p5("b")))
    assert check == "DeviceCountTooHigh"
    assert (
        "asks for hugepages-2Mi 5Gi, and no node offers more than 1Gi. Lower spec.prefill.resources by "
        "hugepages-2Mi 4Gi at least" in message
    )


def test_what_one_component_provides_is_one_fault() -> None:
    labels = {"node.kubernetes.io/instance-type": "a3-ultragpu-8g"}
    roles = {role: {"parallelism": {"tensor": 8}} for role in ("prefill", "decode")}
    bare = machine("a", labels, {**CPU, "cpu": "192", "memory": "2Ti", GPU: "8"})
    check, message = the_fault(on("gke-a3-ultra", **roles), cluster(ROOM, bare))
    assert check == "DeviceMissing"
    assert message.startswith(
        "Prefill and decode pods ask for networking.gke.io.networks/rdma-0, "
        "networking.gke.io.networks/rdma-0.IP, networking.gke.io.networks/rdma-1 and 13 more, and none of "
        "their nodes offers them (a). It comes with"
    )


def test_what_only_the_node_knows_is_remarked() -> None:
    labels = {"node.kubernetes.io/instance-type": "p6e-gb200.36xlarge"}
    made = nvl72("aws-p6e-gb200.36xlarge")
    trays = [tray(f"t{n}", more=labels, **{EFA: "17" if n else "16"}) for n in range(3)]
    assessment = found(made, cluster(ROOM, *trays))
    assert not assessment.faults
    assert assessment.remarks[1] == (
        "Each of the decode pods has a node for itself and asks for vpc.amazonaws.com/efa 4 of 17. To use "
        "all, write spec.decode.devices: {vpc.amazonaws.com/efa: 17}."
    )
    trays = [tray(f"t{n}", more=labels, **{EFA: "4"}) for n in range(3)]
    assert found(made, cluster(ROOM, *trays)) == Assessment()


def test_two_roles_that_fit_one_by_one_may_not_fit_together() -> None:
    roles = {"prefill": {"parallelism": {"tensor": 4}}, "decode": {"parallelism": {"tensor": 8}}}
    check, message = the_fault(on("generic", **roles), cluster(machine("g", {}, FULL)))
    assert check == "TooFewNodes"
    assert (
        "The workers ask for nvidia.com/gpu 12 in all, and there is 8 on the 1 node that would do" in message
    )


def test_the_pods_of_one_instance_are_on_nodes_of_their_own() -> None:
    roles = {"prefill": {"parallelism": {"tensor": 1}}, "decode": {"parallelism": {"tensor": 1}}}
    made = on("generic", **roles)
    spread = replace(made.roles["decode"], nodes=2)
    made = replace(made, roles={**made.roles, "decode": spread})
    one, two = machine("a", {}, FULL), machine("b", {}, FULL)
    check, message = the_fault(made, cluster(one))
    assert check == "TooFewNodes"
    assert "The deployment has 2 decode pods, and there is room for 1 on the 1 node that would do" in message
    assert found(made, cluster(one, two)) == Assessment()


ANYWHERE: Object = {"spec": {"affinity": {"$patch": "delete"}}}


def test_the_pods_of_one_instance_may_share_a_node_where_the_user_lets_them() -> None:
    role = {"nodesPerReplica": 2, "parallelism": {"tensor": 4}}
    one = machine("a", {}, FULL)
    spread = on("generic", prefill={"parallelism": {"tensor": 1}}, decode=role)
    assert the_fault(spread, cluster(one))[0] == "TooFewNodes"
    together = on("generic", prefill={"parallelism": {"tensor": 1}}, decode={**role, "podTemplate": ANYWHERE})
    assert found(together, cluster(one)) == Assessment()
    ten = {"parallelism": {"tensor": 10}, "podTemplate": ANYWHERE}
    too_large = on("generic", prefill={"parallelism": {"tensor": 1}}, decode={**role, **ten})
    check, message = the_fault(too_large, cluster(one))
    assert check == "TooFewNodes"
    assert "The deployment has 2 decode pods, and there is room for 1 on the 1 node that would do" in message


def test_roles_stay_apart_though_the_user_lets_the_pods_of_one_instance_share_a_node() -> None:
    """What the user writes instead is read as the scheduler reads it."""
    apart = {
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {
                    "labelSelector": {
                        "matchExpressions": [
                            {"key": "disagg.dev/role", "operator": "In", "values": ["prefill"]},
                            {"key": "disagg.dev/group", "operator": "DoesNotExist"},
                        ]
                    },
                    "topologyKey": "kubernetes.io/hostname",
                }
            ]
        }
    }
    template = {"spec": {"affinity": apart}}
    decode = {"nodesPerReplica": 2, "parallelism": {"tensor": 8}, "podTemplate": template}
    prefill = {"replicas": 1, "parallelism": {"tensor": 4}, "podTemplate": ANYWHERE}
    made = efa(prefill=prefill, decode={**decode, "devices": {EFA: 16}})
    check, message = the_fault(made, cluster(ROOM, p5("a")))
    assert check == "TooFewNodes"
    assert message.startswith("The workers need 2 nodes (1 for prefill and 1 for decode), and 1 fit.")
    assert found(made, cluster(ROOM, p5("a"), p5("b"))) == Assessment()


def test_an_instance_need_not_share_a_switch_where_the_user_lets_it() -> None:
    role = {"nodesPerReplica": 2, "parallelism": {"tensor": 16}}
    group = {"placement": {"group": {"topologyKey": "switch", "required": True}}}
    nodes = [machine(f"n{n}", {"switch": f"s{n}"}, FULL) for n in range(3)]
    prefill = {"parallelism": {"tensor": 8}}
    assert (
        the_fault(on("generic", prefill=prefill, decode=role, **group), cluster(*nodes))[0] == "NoLargeDomain"
    )
    free = {**role, "podTemplate": ANYWHERE}
    assert found(on("generic", prefill=prefill, decode=free, **group), cluster(*nodes)) == Assessment()


def test_a_node_that_kubernetes_itself_taints_is_named_once() -> None:
    taint = {"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"}
    lost = machine("a", P5, FULL, taints=[taint], ready=False)
    assert the_fault(efa(), cluster(ROOM, lost))[1].count("not ready") == 1
    pressed = machine("a", P5, FULL, taints=[{**taint, "key": "node.kubernetes.io/disk-pressure"}])
    check, message = the_fault(efa(), cluster(ROOM, pressed))
    assert check == "NodesUnavailable"
    assert "are tainted node.kubernetes.io/disk-pressure:NoSchedule: a" in message


def test_a_preference_is_no_requirement() -> None:
    near = {"topologyKey": "topology.kubernetes.io/zone", "required": False}
    made = efa(placement=near)
    assert found(made, cluster(ROOM, p5("a"), p5("b", "us-east-1b"))) == Assessment()


def test_overrides_of_the_pod_template_count() -> None:
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    term = {"matchExpressions": [{"key": "rack", "operator": "Exists"}]}
    affinity = {"nodeAffinity": {required: {"nodeSelectorTerms": [term]}}}
    roles: Object = {
        role: {"podTemplate": {"spec": {"affinity": affinity}}} for role in ("prefill", "decode")
    }
    made = plan(accept(deployment(**roles)), Installation("w:1"))
    assert "need a node with rack Exists, and" in the_fault(made, cluster(ROOM))[1]
    assert found(made, cluster(machine("a", {"rack": "7"}))) == Assessment()


def test_an_override_of_the_workers_container_is_no_second_container() -> None:
    changed = {"podTemplate": {"spec": {"containers": [{"name": "worker", "workingDir": "/"}]}}}
    nodes = cluster(ROOM, machine("a", {}), enforced="restricted")
    both: Object = {"prefill": changed, "decode": changed}
    for roles in ({}, both):
        made = plan(accept(deployment(**roles)), Installation("w:1"))
        assert found(made, nodes) == Assessment()


def test_what_may_not_be_read_is_unknown_and_hides_no_fault() -> None:
    closed = ClusterSnapshot(None, None, None, {WORKER_METADATA: True})
    assert found(efa(), closed) == Assessment(
        (),
        (
            "The operator may not read nodes, namespaces. Set preflight.nodes=true in the values of this "
            "operator's chart to have it checked.",
        ),
    )
    assert "deviceclasses.resource.k8s.io" in found(nvl72(), closed).unknown[0]
    missing = ClusterSnapshot(None, None, None, {WORKER_METADATA: False})
    assert [fault.check for fault in found(efa(), missing).faults] == [Check.API_MISSING]


def test_faults_that_no_pod_could_wait_for_are_fatal_and_come_first() -> None:
    assessment = found(efa(), cluster(ROOM, enforced="baseline", served={WORKER_METADATA: False}))
    assert [fault.check.value for fault in assessment.faults] == [
        "PodSecurity",
        "ApiMissing",
        "NoMatchingNode",
    ]
    assert assessment.fatal
    assert not found(efa(), cluster(ROOM)).fatal


def test_every_check_is_documented() -> None:
    text = DOCS.read_text()
    assert all(f"`{check.value}`" in text for check in Check)


def test_every_device_of_a_profile_comes_from_something_known() -> None:
    catalogue = builtin()
    layers = [*catalogue.machines.values(), *catalogue.fabrics.values()]
    names = {device.name for layer in layers for device in layer.devices}
    names |= {each.topology_key for fabric in catalogue.fabrics.values() for each in fabric.together}
    assert EFA in names
    assert not {name for name in names if provider_of(name) is None}
