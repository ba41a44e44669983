"""Every profile of the package can be used, and every value of one says where it comes from."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from disagg_operator.api.v1alpha1.runtime import Engine
from disagg_operator.build.objects import shared_objects, worker_objects
from disagg_operator.plan.engines.engine import Asked, EngineWorker
from disagg_operator.plan.engines.registry import ENGINES
from disagg_operator.plan.model import DECODE, PREFILL
from disagg_operator.platforms.catalogue import builtin
from disagg_operator.platforms.documents import resolved
from disagg_operator.platforms.faults import ProfileError
from disagg_operator.platforms.vocabulary import FACTS
from unit.deployments import planned

CATALOGUE = builtin()
ROOT = Path(__file__).resolve().parents[3]
RELEASE = re.compile(r"^(Dynamo|NIXL|TensorRT-LLM|TRT-LLM) \S+, ")
"""A value that was executed against a named release."""

MACHINES = {
    *("aws-p4d.24xlarge", "aws-p4de.24xlarge", "aws-p5.4xlarge", "aws-p5.48xlarge", "aws-p5e.48xlarge"),
    *("aws-p5en.48xlarge", "aws-p6-b200.48xlarge", "aws-p6-b300.48xlarge"),
    *("aws-p6e-gb200.36xlarge", "aws-p6e-gb300.36xlarge"),
    *(f"aws-g6e.{size}xlarge" for size in (8, 12, 24, 48)),
    *(f"aws-g7e.{size}xlarge" for size in (8, 12, 24, 48)),
    *("gb200-nvl72", "gb300-nvl72", "infiniband", "roce", "generic", "local"),
    *("aks-nd-h100-v5", "gke-a3-ultra", "gke-a4", "gke-a4x", "coreweave-h100", "coreweave-gb200"),
    *("oci-bm.gpu.h100.8", "oci-bm.gpu.h200.8", "oci-bm.gpu.b200.8", "oci-bm.gpu.gb200.4"),
}


AWS = """
p4d.24xlarge        amd64 8 A100          4
p4de.24xlarge       amd64 8 A100          4
p5.4xlarge          amd64 1 H100          1
p5.48xlarge         amd64 8 H100         32
p5e.48xlarge        amd64 8 H200         32
p5en.48xlarge       amd64 8 H200         16
p6-b200.48xlarge    amd64 8 B200          8
p6-b300.48xlarge    amd64 8 B300         16
g6e.8xlarge         amd64 1 L40S          1
g6e.12xlarge        amd64 4 L40S          1
g6e.24xlarge        amd64 4 L40S          2
g6e.48xlarge        amd64 8 L40S          4
g7e.8xlarge         amd64 1 RTX_PRO_6000  1
g7e.12xlarge        amd64 2 RTX_PRO_6000  1
g7e.24xlarge        amd64 4 RTX_PRO_6000  2
g7e.48xlarge        amd64 8 RTX_PRO_6000  4
p6e-gb200.36xlarge  arm64 4 GB200         ?
p6e-gb300.36xlarge  arm64 4 GB300         ?
"""
"""Architecture, GPUs, their model and EFA devices of a node, as https://karpenter.sh/preview/reference/instance-types
has them; ? where the launch template decides how many of the 17 cards are EFA devices."""

OTHERS = {
    "aks-nd-h100-v5": ("amd64", 8, "H100"),
    "coreweave-gb200": ("arm64", 4, "GB200"),
    "coreweave-h100": ("amd64", 8, "H100"),
    "gb200-nvl72": ("arm64", 4, "GB200"),
    "gb300-nvl72": ("arm64", 4, "GB300"),
    "gke-a3-ultra": ("amd64", 8, "H200"),
    "gke-a4": ("amd64", 8, "B200"),
    "gke-a4x": ("arm64", 4, "GB200"),
    "oci-bm.gpu.b200.8": ("amd64", 8, "B200"),
    "oci-bm.gpu.gb200.4": ("arm64", 4, "GB200"),
    "oci-bm.gpu.h100.8": ("amd64", 8, "H100"),
    "oci-bm.gpu.h200.8": ("amd64", 8, "H200"),
}
"""Machines of other clouds: architecture, GPUs of a node and their model, from their profiles' documents."""


def sourced(document: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield all maps that state a value, and their paths."""
    if isinstance(document, list):
        for index, part in enumerate(document):
            yield from sourced(part, f"{path}[{index}]")
    elif isinstance(document, dict):
        if "reason" in document:
            yield path, document
        for key, part in document.items():
            yield from sourced(part, f"{path}.{key}")


def all_values() -> list[tuple[str, dict[str, Any]]]:
    folders = (CATALOGUE.machine_documents, CATALOGUE.fabric_documents)
    return [
        value
        for documents in folders
        for name in documents
        for value in sourced(resolved(name, documents), name)
    ]


def test_all_machines_are_there() -> None:
    assert set(CATALOGUE.machines) == MACHINES


@pytest.mark.parametrize("line", AWS.split("\n")[1:-1])
def test_figures_of_an_aws_machine(line: str) -> None:
    name, architecture, gpus, model, efa = line.split()
    machine = CATALOGUE.machines[f"aws-{name}"]
    assert machine.architecture is not None
    assert machine.gpus is not None
    assert (machine.architecture.value, machine.gpus.count, machine.gpus.model) == (
        architecture,
        int(gpus),
        model.replace("_", " "),
    )
    (device,) = machine.devices
    assert device.name == "vpc.amazonaws.com/efa"
    # Where only the node knows, a pod asks for one device a GPU, as was tested on GB200 NVL72 (seed 002).
    assert (device.per_node, device.per_gpu) == ((None, 1) if efa == "?" else (int(efa), None))
    assert ("node.kubernetes.io/instance-type", name) in {
        (each.name, each.value) for each in machine.node_labels
    }


@pytest.mark.parametrize("name", OTHERS)
def test_figures_of_a_machine_of_another_cloud(name: str) -> None:
    machine = CATALOGUE.machines[name]
    assert machine.architecture is not None
    assert machine.gpus is not None
    assert (machine.architecture.value, machine.gpus.count, machine.gpus.model) == OTHERS[name]


def test_every_machine_s_figures_are_looked_at() -> None:
    aws = {f"aws-{line.split()[0]}" for line in AWS.split("\n")[1:-1]}
    assert aws | OTHERS.keys() == {name for name, each in CATALOGUE.machines.items() if each.gpus is not None}


def test_ucx_is_given_an_adapter_of_the_aks_machine_for_each_gpu() -> None:
    variables = {each.name: each.value for each in planned("aks-nd-h100-v5", 8).roles[DECODE].pod.environment}
    assert variables["UCX_NET_DEVICES"] == ",".join(f"mlx5_{index}:1" for index in range(8))


@pytest.mark.parametrize("name", sorted(MACHINES))
def test_a_machine_runs_tensorrt_llm_on_whole_nodes(name: str) -> None:
    machine = CATALOGUE.machines[name]
    assert machine.name == name
    whole = machine.gpus.count if machine.gpus else 1
    result = planned(name, whole)
    assert [*shared_objects(result), *worker_objects(result)]
    for role in (PREFILL, DECODE):
        pod = result.roles[role].pod
        counts = {device.name: device.count for device in pod.devices}
        assert counts["nvidia.com/gpu"] == whole
        for device in machine.devices:
            assert counts[device.name] == (device.per_node or device.per_pod or (device.per_gpu or 0) * whole)


@pytest.mark.parametrize("name", sorted(CATALOGUE.fabrics))
def test_no_fabric_lets_ucx_take_gpu_memory_for_host_memory(name: str) -> None:
    for variable in CATALOGUE.fabrics[name].environment:
        if variable.name == "UCX_TLS":
            transports = (variable.value or "").split(",")
            assert {"cuda_copy", "cuda_ipc"} <= set(transports)
            assert "tcp" not in transports


def test_every_value_of_a_machine_or_fabric_has_a_document_behind_it() -> None:
    values = all_values()
    assert len(values) > 300
    for path, value in values:
        source = str(value["source"])
        document = source.startswith("https://") or (ROOT / source).exists() or RELEASE.match(source)
        assert document, f"{path}: {source} is no document"
        assert str(value["reason"]).endswith("."), f"{path}: {value['reason']!r} is no sentence"


def test_no_machine_has_more_tensors_than_a_fabric_of_nvlink_reaches() -> None:
    for machine in CATALOGUE.machines.values():
        for fabric in CATALOGUE.fabrics_of(machine):
            if fabric.domain is not None:
                assert machine.gpus is not None
                assert fabric.domain.max_nodes * machine.gpus.count == 72


@pytest.mark.parametrize("changed", [{"when": {"colour": ["red"]}}, {"when": {"role": ["prefil"]}}])
def test_a_condition_that_can_never_hold_is_a_fault(changed: dict[str, Any]) -> None:
    document = CATALOGUE.fabric_documents["efa"]
    variable = {**document["environment"][0], **changed}
    with pytest.raises(ProfileError, match=r"^fabrics/efa\.yaml: environment\[FI_PROVIDER\]: when: "):
        CATALOGUE.with_profiles({}, {"efa": {**document, "environment": [variable]}})


def test_a_template_that_names_nothing_known_is_a_fault() -> None:
    document = CATALOGUE.fabric_documents["efa"]
    variable = {**document["environment"][0], "value": "{{ colour }}"}
    with pytest.raises(ProfileError, match=r"FI_PROVIDER: the template uses 'colour', which is no fact"):
        CATALOGUE.with_profiles({}, {"efa": {**document, "environment": [variable]}})


def test_network_attachments_are_as_many_as_the_adapters_of_the_pod() -> None:
    name = "k8s.v1.cni.cncf.io/networks"
    for gpus, count in ((8, 16), (2, 4)):
        pod = planned("oci-bm.gpu.h100.8", gpus).roles[DECODE].pod
        assert [setting.value for setting in pod.annotations if setting.name == name] == [
            ",".join(["rdma-vf"] * count)
        ]


def test_an_annotation_that_comes_out_empty_is_left_out() -> None:
    none = {"parallelism": {"tensor": 1}, "devices": {"nvidia.com/rdma-vf": 0}}
    assert planned("oci-bm.gpu.h100.8", 1, decode=none).roles[DECODE].pod.annotations == ()


def test_the_planner_knows_all_facts_that_profiles_may_speak_of(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, str]] = []
    engine = ENGINES[Engine.TRTLLM]

    def worker(given: Asked) -> EngineWorker:
        asked.append(dict(given.facts))
        return engine.worker(given)

    monkeypatch.setitem(ENGINES, Engine.TRTLLM, replace(engine, worker=worker))
    planned("aws-p5.48xlarge", 8)
    assert asked
    for facts in asked:
        assert set(facts) == set(FACTS)
        for name, value in facts.items():
            known = FACTS[name]
            assert known is None or value in known
