"""What machine, fabric and runtime profiles add to worker pods."""

from typing import Any

import pytest

from disagg_operator.api.parse import accept
from disagg_operator.api.problems import Refusal
from disagg_operator.build.objects import worker_objects
from disagg_operator.plan.hardware import device_count
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.model import DECODE, PREFILL, Plan
from disagg_operator.plan.planner import plan
from disagg_operator.platforms.profile import Device, Gpus
from unit import deployments

PROVENANCE: Any = {"reason": "r", "source": "s"}
NODE = Gpus(count=8, model="H100", **PROVENANCE)
EFA = "vpc.amazonaws.com/efa"
STORES = {"etcd": {"endpoints": ["http://etcd:2379"]}, "nats": {"server": "nats://nats:4222"}}


def planned(platform: str = "aws-p5.48xlarge", **spec: Any) -> Plan:
    sizes: dict[str, Any] = {
        "prefill": {"parallelism": {"tensor": 1}},
        "decode": {"parallelism": {"tensor": 8}},
    }
    return deployments.planned(platform, **{**sizes, **spec})


def pod_of(result: Plan, role: str) -> dict[str, Any]:
    (found,) = [
        obj
        for obj in worker_objects(result)
        if obj["kind"] == "StatefulSet" and obj["metadata"]["labels"]["disagg.dev/role"] == role
    ]
    pod: dict[str, Any] = found["spec"]["template"]["spec"]
    return pod


@pytest.mark.parametrize(
    ("counts", "gpus", "expected"),
    [
        ({"per_node": 32}, 1, 4),
        ({"per_node": 32}, 2, 8),
        ({"per_node": 32}, 8, 32),
        ({"per_node": 4}, 1, 1),
        ({"per_node": 4}, 4, 2),
        ({"per_gpu": 1}, 4, 4),
        ({"per_pod": 1}, 8, 1),
        ({"per_pod": 1}, 0, 1),
        ({"per_node": 32}, 0, 0),
    ],
)
def test_a_pod_gets_devices_in_proportion_to_its_gpus(
    counts: dict[str, int], gpus: int, expected: int
) -> None:
    assert device_count(Device(name=EFA, **PROVENANCE, **counts), NODE, gpus) == expected


def test_devices_are_requested_as_they_are_limited() -> None:
    resources = pod_of(planned(), DECODE)["containers"][0]["resources"]
    assert resources["limits"] == {"nvidia.com/gpu": "8", EFA: "32"}
    assert resources["requests"].items() >= resources["limits"].items()
    assert resources["requests"]["memory"] == "880Gi"


def test_a_user_overrides_the_number_of_devices_and_removes_them_with_zero() -> None:
    result = planned(
        prefill={"devices": {EFA: 1}}, decode={"parallelism": {"tensor": 8}, "devices": {EFA: 0}}
    )
    assert pod_of(result, PREFILL)["containers"][0]["resources"]["limits"][EFA] == "1"
    assert EFA not in pod_of(result, DECODE)["containers"][0]["resources"]["limits"]


def test_only_the_workers_are_privileged_on_efa() -> None:
    result = planned()
    for role in (PREFILL, DECODE):
        assert pod_of(result, role)["containers"][0]["securityContext"] == {"privileged": True}
    assert result.frontend.pod.security.mode == "Restricted"
    assert result.frontend.pod.devices == ()


def test_privilege_can_be_lowered_to_pinning_memory() -> None:
    context = pod_of(planned(security={"mode": "IpcLock"}), PREFILL)["containers"][0]["securityContext"]
    assert context["capabilities"] == {"drop": ["ALL"], "add": ["IPC_LOCK", "SYS_RESOURCE"]}
    assert "privileged" not in context


def test_prefill_and_decode_never_share_a_node_on_efa_and_all_share_a_zone() -> None:
    affinity = pod_of(planned(), PREFILL)["affinity"]
    (apart,) = affinity["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert apart["topologyKey"] == "kubernetes.io/hostname"
    assert apart["labelSelector"]["matchLabels"]["disagg.dev/role"] == DECODE
    (together,) = affinity["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert together["topologyKey"] == "topology.kubernetes.io/zone"


def test_placement_of_the_user_wins() -> None:
    placement = {"topologyKey": "rack", "required": False}
    affinity = pod_of(planned(placement=placement), PREFILL)["affinity"]
    soft = affinity["podAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert [each["podAffinityTerm"]["topologyKey"] for each in soft] == ["rack", "kubernetes.io/hostname"]


@pytest.mark.parametrize(
    ("platform", "gpus", "shares"),
    [
        ("aws-p5.48xlarge", 4, True),
        ("aws-p5.48xlarge", 8, False),
        ("generic", 8, True),  # the profile does not know how many GPUs a node has
    ],
)
def test_workers_that_may_take_a_part_of_a_node_prefer_one_with_others_of_their_role(
    platform: str, gpus: int, *, shares: bool
) -> None:
    role = {"parallelism": {"tensor": gpus}}
    affinity = pod_of(planned(platform, prefill=role, decode=role), PREFILL).get("affinity", {})
    soft = affinity.get("podAffinity", {}).get("preferredDuringSchedulingIgnoredDuringExecution", [])
    selected = {"disagg.dev/deployment": "demo", "disagg.dev/role": PREFILL}
    term = {"labelSelector": {"matchLabels": selected}, "topologyKey": "kubernetes.io/hostname"}
    assert soft == ([{"weight": 100, "podAffinityTerm": term}] if shares else [])


def test_the_wish_to_share_a_node_is_taken_away_without_the_rule_for_the_zone() -> None:
    none: dict[str, Any] = {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}
    role = {"parallelism": {"tensor": 1}, "podTemplate": {"spec": {"affinity": none}}}
    near = pod_of(planned(prefill=role), PREFILL)["affinity"]["podAffinity"]
    assert near["preferredDuringSchedulingIgnoredDuringExecution"] == []
    (zone,) = near["requiredDuringSchedulingIgnoredDuringExecution"]
    assert zone["topologyKey"] == "topology.kubernetes.io/zone"


def test_every_derived_setting_names_its_profile_line() -> None:
    pod = planned().roles[PREFILL].pod
    (variable,) = [each for each in pod.environment if each.name == "FI_PROVIDER"]
    assert variable.provenance.line.startswith("fabrics/efa.yaml:")
    (device,) = [each for each in pod.devices if each.name == EFA]
    assert device.provenance.line.startswith("machines/aws-p5.48xlarge.yaml:")


def test_words_and_lines_of_a_profile_are_no_part_of_the_revision() -> None:
    installation = Installation(worker_image="worker:test")
    document = installation.catalogue.fabric_documents["efa"]
    reworded = [
        {**each, "reason": "Said otherwise.", "line": "elsewhere:1"} for each in document["environment"]
    ]
    efa = {**document, "environment": reworded}
    other = Installation("worker:test", catalogue=installation.catalogue.with_profiles({}, {"efa": efa}))
    resource = deployments.trtllm("aws-p5.48xlarge")
    one, two = (plan(accept(resource), each) for each in (installation, other))
    assert one.roles != two.roles
    assert one.revision == two.revision


def test_a_backend_that_the_fabric_lacks_is_refused() -> None:
    with pytest.raises(
        Refusal,
        match=r"spec\.transfer\.nixlBackend: LIBFABRIC cannot be used: tcp works with UCX.* Write UCX",
    ):
        planned("generic", transfer={"nixlBackend": "LIBFABRIC"})


def test_a_method_that_the_engine_lacks_is_refused() -> None:
    old: dict[str, Any] = {"runtime": {"version": "0.6.1", "image": "i"}, "discovery": STORES}
    with pytest.raises(Refusal, match=r"spec\.transfer\.method: MOONCAKE .* Write UCX or NIXL or MPI"):
        planned(transfer={"method": "MOONCAKE"}, **old)


def test_ucx_alone_has_no_nixl_backend() -> None:
    assert str(planned(transfer={"method": "UCX"}).transfer) == "UCX"


def test_the_frontend_runs_where_its_image_does() -> None:
    whole_node = {"parallelism": {"tensor": 4}}
    pod = planned("gb200-nvl72", prefill=whole_node, decode=whole_node).frontend.pod
    assert [(label.name, label.value) for label in pod.node_labels] == [("kubernetes.io/arch", "arm64")]
    tolerated = {each.toleration["key"] for each in pod.derived_tolerations}
    assert tolerated == {"kubernetes.io/arch", "nvidia.com/gpu"}
    assert planned().frontend.pod.node_labels == ()
