"""The machines that the README of each example says it needs, and what such machines offer. Data.

Invariant: nothing here comes from the operator's own profiles, which the scheduler judges by these machines.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

GPU_TAINT = {"nvidia.com/gpu": "present"}
INSTANCE_TYPE = "node.kubernetes.io/instance-type"


@dataclass(frozen=True)
class Machine:
    """A sort of machine.

    Args:
        allocatable: Quantities by resource.
        labels: What its provider writes on its node.
        taints: Values by key; all keep other pods from being scheduled.
        rack: Whether it is a part of an NVLink domain.
    """

    allocatable: Mapping[str, str]
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: Mapping[str, str] = field(default_factory=dict)
    rack: bool = False


@dataclass(frozen=True)
class Hardware:
    """What an example needs.

    Args:
        told: How the README says so.
        count: How many machines, at the least.
        machine: Of which sort.
        claims: Volume claims that must be there before.
        etcd: Members of an etcd with volumes of the default StorageClass.
        conditions: Status and reason of conditions that not every example has, or has otherwise.
    """

    told: str
    count: int
    machine: Machine
    claims: tuple[str, ...] = ()
    etcd: int = 0
    conditions: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def cpu(cores: str, memory: str, *, taint: str = "") -> Machine:
    """A machine without GPUs, by what is free of it."""
    return Machine({"cpu": cores, "memory": memory}, taints={"dedicated": taint} if taint else {})


def aws(name: str, *, efa: int) -> Machine:
    """A machine of Amazon's with eight GPUs, 192 virtual CPUs and 2 TiB, of which the kubelet keeps some."""
    labels = {INSTANCE_TYPE: name, "topology.k8s.aws/network-node-layer-3": "nn-3"}
    labels["topology.kubernetes.io/zone"] = "us-east-1a"
    devices = {"nvidia.com/gpu": "8", "vpc.amazonaws.com/efa": str(efa), "hugepages-2Mi": "21122Mi"}
    return Machine({"cpu": "191", "memory": "1980Gi", **devices}, labels, GPU_TAINT)


def own(**devices: str) -> Machine:
    """A machine of one's own with two sockets and eight GPUs."""
    named = {name.replace("__", "/"): count for name, count in devices.items()}
    return Machine({"cpu": "112", "memory": "1980Gi", "nvidia.com/gpu": "8", **named}, taints=GPU_TAINT)


P5 = aws("p5.48xlarge", efa=32)
P5EN = aws("p5en.48xlarge", efa=16)
P6 = aws("p6-b200.48xlarge", efa=8)
INFINIBAND = own(rdma__ib="8")
GKE_NETWORKS = [f"networking.gke.io.networks/rdma-{number}" for number in range(8)]
GKE_A4 = Machine(
    {
        **{"cpu": "223", "memory": "3600Gi", "nvidia.com/gpu": "8"},
        **{name + part: "1" for name in GKE_NETWORKS for part in ("", ".IP")},
    },
    {INSTANCE_TYPE: "a4-highgpu-8g", "topology.kubernetes.io/zone": "us-central1-b"},
    GPU_TAINT,
)
TRAY = Machine(
    {"cpu": "143", "memory": "900Gi", "nvidia.com/gpu": "4"},
    {"kubernetes.io/arch": "arm64"},
    {**GPU_TAINT, "kubernetes.io/arch": "arm64"},
    rack=True,
)
SMALL = cpu("500m", "1280Mi")
FRONTENDS = cpu("8", "16Gi")
"""Stands beside GPU machines that are tainted: what needs no GPU has room there."""

PAIR = Machine({"cpu": "32", "memory": "256Gi", "nvidia.com/gpu": "2"})
LINKED = {"ComputeDomainReady": ("True", "Ready")}
FETCHED = {"ModelReady": ("True", "Fetched")}
DOUBTFUL = {"Accepted": ("True", "AcceptedWithWarnings")}
HARDWARE = {
    "01-quickstart/smollm2": Hardware("half a CPU core and 1.2 GiB", 1, SMALL),
    "02-tuned/smollm2": Hardware("with 18 free cores", 1, cpu("18", "16Gi", taint="inference")),
    "03-volume/llama": Hardware("or one node", 1, cpu("8", "16Gi"), claims=("models",)),
    "04-efa/llama-70b": Hardware("three p5.48xlarge", 3, P5),
    "04-efa/llama-70b-p5en": Hardware("three p5en.48xlarge", 3, P5EN),
    "05-efa-multinode/llama-405b": Hardware("Six p5.48xlarge", 6, P5),
    "06-gb200/deepseek-r1": Hardware("Nine of the 18 nodes", 9, TRAY, conditions=LINKED),
    "07-infiniband/llama-70b": Hardware("Three nodes of 8 H100", 3, own(rdma__hca_shared_devices_a="63")),
    "08-gke-a4/llama-70b": Hardware("Two a4-highgpu-8g", 2, GKE_A4),
    "09-pipeline/smollm2": Hardware("Five CPU nodes with four cores each", 5, cpu("4", "8Gi")),
    "10-autoscaling/smollm2": Hardware("Any CPU nodes", 1, cpu("2", "4Gi")),
    "11-gang/llama-405b-gang": Hardware("Six p5.48xlarge", 6, P5),
    "12-trtllm-serve/llama-70b": Hardware("two for `llama-70b.yaml`", 2, INFINIBAND, claims=("models",)),
    "12-trtllm-serve/llama-405b-etcd": Hardware("six for `llama-405b-etcd.yaml`", 6, INFINIBAND, etcd=3),
    "13-vllm/llama-70b-efa": Hardware("three p5.48xlarge", 3, P5),
    "13-vllm/llama-405b-infiniband": Hardware("four nodes of 8 H100", 4, INFINIBAND),
    "14-sglang/deepseek-r1": Hardware("four p5en.48xlarge", 4, P5EN),
    "14-sglang/llama-8b": Hardware(
        "four free GPUs together",
        1,
        Machine({"cpu": "64", "memory": "512Gi", "nvidia.com/gpu": "4", "rdma/ib": "4"}, taints=GPU_TAINT),
    ),
    "15-mocker/smollm2": Hardware("half a CPU core", 1, SMALL),
    "16-hub/hub": Hardware("CPU nodes", 1, cpu("8", "16Gi"), claims=("models",), conditions=FETCHED),
    "16-hub/node": Hardware(
        "four together",
        2,
        PAIR,
        conditions=FETCHED,
    ),
    "17-kv-router/smollm2-kv-router": Hardware("Any Kubernetes", 1, cpu("2", "4Gi")),
    "17-kv-router/llama-70b-kv-router": Hardware("two p5.48xlarge", 2, P5, conditions=DOUBTFUL),
    "18-qwen3-32b/qwen3-32b-p5": Hardware("Two p5.48xlarge", 2, P5),
    "18-qwen3-32b/qwen3-32b-p5en": Hardware("two p5en.48xlarge", 2, P5EN),
    "19-gpt-oss/gpt-oss-120b": Hardware("Two p6-b200.48xlarge", 2, P6),
    "20-qwen3-235b/qwen3-235b": Hardware("Three p5en.48xlarge", 3, P5EN),
    "21-roce/llama-70b": Hardware("Three nodes of 8 H100", 3, INFINIBAND),
}
"""By folder and file."""
