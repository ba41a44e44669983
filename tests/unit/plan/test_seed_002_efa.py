"""Each sentence of NVIDIA's "KV Cache Transfer" page (seed 002) that states a value for EFA or GB200 NVL72.

The page is that of Dynamo 1.1.1: docs.nvidia.com/dynamo, backends, TensorRT-LLM, KV cache transfer.
"""

from typing import Any

import pytest
import yaml

from disagg_operator.api.problems import Refusal
from disagg_operator.build.objects import worker_objects
from disagg_operator.plan.facts import image_kind
from unit.deployments import planned

EFA_ENVIRONMENT = {
    "FI_PROVIDER": "efa",
    "FI_EFA_USE_DEVICE_RDMA": "1",
    "FI_EFA_ENABLE_SHM_TRANSFER": "0",
    "LD_LIBRARY_PATH": "/opt/amazon/efa/lib:/usr/local/lib:/usr/lib",
}
GB200_ENVIRONMENT = {
    "NCCL_MNNVL_ENABLE": "1",
    "NCCL_CUMEM_ENABLE": "1",
    "NCCL_NVLS_ENABLE": "1",
    "NVIDIA_GDRCOPY": "1",
}
ON_EFA = ("aws-p5.48xlarge", "aws-p6e-gb200.36xlarge")
STANDARD_IMAGE = {"image": "nvcr.io/nvidia/ai-dynamo/tensorrtllm-runtime:1.1.1"}


def pods(platform: str, **spec: Any) -> dict[str, dict[str, Any]]:
    """Return the pod specification of each role on a platform, with 4 GPUs a pod."""
    objects = worker_objects(planned(platform, 4, **spec))
    return {
        each["metadata"]["labels"]["disagg.dev/role"]: each["spec"]["template"]["spec"]
        for each in objects
        if each["kind"] == "StatefulSet"
    }


def environment(pod: dict[str, Any]) -> dict[str, Any]:
    return {variable["name"]: variable.get("value") for variable in pod["containers"][0]["env"]}


def host_paths(pod: dict[str, Any]) -> dict[str, str]:
    """Return the mount paths of the node's directories by directory."""
    paths = {each["name"]: each["hostPath"]["path"] for each in pod["volumes"] if "hostPath" in each}
    mounts = pod["containers"][0]["volumeMounts"]
    return {paths[each["name"]]: each["mountPath"] for each in mounts if each["name"] in paths}


@pytest.mark.parametrize("platform", ON_EFA)
def test_required_environment_variables_for_efa_workers_set_on_both_prefill_and_decode(platform: str) -> None:
    for pod in pods(platform).values():
        assert environment(pod).items() >= EFA_ENVIRONMENT.items()


@pytest.mark.parametrize(
    "written",
    [
        {"env": [{"name": "FI_EFA_ENABLE_SHM_TRANSFER", "value": "1"}]},
        {"env": [{"name": "FI_EFA_ENABLE_SHM_TRANSFER", "value": ""}]},
        {
            "env": [
                {
                    "name": "FI_EFA_ENABLE_SHM_TRANSFER",
                    "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}},
                }
            ]
        },
        {"platformProfile": {"environment": [{"name": "FI_EFA_ENABLE_SHM_TRANSFER", "value": "1"}]}},
    ],
    ids=["1", "empty", "unseen", "by a profile"],
)
def test_fi_efa_enable_shm_transfer_must_be_0_and_the_refusal_says_why(written: dict[str, Any]) -> None:
    with pytest.raises(Refusal, match=r"must be 0: .* break NIXL's registrations of GPU memory") as refusal:
        pods("aws-p5.48xlarge", **written)
    (problem,) = refusal.value.problems
    allowed = pods("aws-p5.48xlarge", security={"allowUnsafe": [problem.rule]}, **written)
    for pod in allowed.values():
        assert environment(pod)["FI_EFA_ENABLE_SHM_TRANSFER"] != "0"


@pytest.mark.parametrize("platform", ON_EFA)
def test_aws_efa_currently_requires_privileged_mode(platform: str) -> None:
    for pod in pods(platform).values():
        assert pod["containers"][0]["securityContext"]["privileged"] is True


@pytest.mark.parametrize("platform", ON_EFA)
def test_efa_devices_are_requested_as_they_are_limited(platform: str) -> None:
    for pod in pods(platform).values():
        resources = pod["containers"][0]["resources"]
        name = "vpc.amazonaws.com/efa"
        assert int(resources["requests"][name]) == int(resources["limits"][name]) > 0


def test_the_page_s_own_example_asks_for_4_efa_devices() -> None:
    asked = {"parallelism": {"tensor": 4}, "devices": {"vpc.amazonaws.com/efa": 4}}
    for pod in pods("aws-p5.48xlarge", prefill=asked, decode=asked).values():
        assert pod["containers"][0]["resources"]["limits"]["vpc.amazonaws.com/efa"] == "4"


def test_one_efa_device_per_gpu_on_gb200() -> None:
    for pod in pods("aws-p6e-gb200.36xlarge").values():
        limits = pod["containers"][0]["resources"]["limits"]
        assert limits["vpc.amazonaws.com/efa"] == limits["nvidia.com/gpu"] == "4"


def test_the_pre_built_efa_image_is_recommended_for_amd64_instances_such_as_p5_48xlarge() -> None:
    for pod in pods("aws-p5.48xlarge", runtime={"version": "1.1.1"}).values():
        assert pod["containers"][0]["image"] == f"{STANDARD_IMAGE['image']}-efa-amd64"
        assert host_paths(pod) == {}


def test_no_pre_built_efa_arm64_image_is_published_so_the_standard_one_gets_the_host_s_sdk() -> None:
    for pod in pods("aws-p6e-gb200.36xlarge", runtime={"version": "1.1.1"}).values():
        assert pod["containers"][0]["image"] == STANDARD_IMAGE["image"]
        assert host_paths(pod) == {"/opt/amazon/efa": "/opt/amazon/efa"}


@pytest.mark.parametrize("platform", ON_EFA)
def test_nixl_discovers_efa_devices_through_ucx_and_needs_no_configuration(platform: str) -> None:
    for pod in pods(platform).values():
        assert not {name for name in environment(pod) if name.startswith(("UCX_", "NIXL_"))}


@pytest.mark.parametrize("platform", ON_EFA)
def test_ucx_is_used_if_no_backend_is_explicitly_specified(platform: str) -> None:
    transfer = planned(platform, 4).transfer
    assert (transfer.method, transfer.nixl_backend) == ("NIXL", "UCX")


def test_tensorrt_llm_supports_two_nixl_backends_ucx_and_libfabric() -> None:
    for backend in ("UCX", "LIBFABRIC"):
        assert pods("aws-p5.48xlarge", transfer={"nixlBackend": backend})


def test_host_mount_on_arm64_uses_the_standard_image_and_mounts_the_efa_sdk() -> None:
    for pod in pods("aws-p6e-gb200.36xlarge", runtime=STANDARD_IMAGE).values():
        assert host_paths(pod) == {"/opt/amazon/efa": "/opt/amazon/efa"}
        assert "efa-sdk" in {volume["name"] for volume in pod["volumes"]}


def test_the_mounted_sdk_is_refused_together_with_libfabric_which_it_breaks() -> None:
    with pytest.raises(Refusal, match=r"hides the libfabric .* write nixlBackend: UCX"):
        pods("aws-p6e-gb200.36xlarge", runtime=STANDARD_IMAGE, transfer={"nixlBackend": "LIBFABRIC"})


def test_the_host_s_sdk_is_mounted_on_arm64_alone_and_never_over_an_efa_image() -> None:
    for pod in pods("aws-p5.48xlarge", runtime=STANDARD_IMAGE).values():
        assert host_paths(pod) == {}
    image = {"image": "registry.example/tensorrtllm-runtime:1.6.1-efa"}
    for pod in pods("aws-p6e-gb200.36xlarge", runtime=image).values():
        assert host_paths(pod) == {}


def test_required_nccl_environment_variables_for_gb200() -> None:
    for platform in ("gb200-nvl72", "aws-p6e-gb200.36xlarge"):
        for pod in pods(platform).values():
            assert environment(pod).items() >= GB200_ENVIRONMENT.items()


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        ("nvcr.io/nvidia/ai-dynamo/tensorrtllm-runtime:1.1.1-efa-amd64", "efa"),
        ("nvcr.io/nvidia/ai-dynamo/tensorrtllm-runtime:1.6.1-efa", "efa"),
        ("registry:5000/trtllm:1.6.1-efa@sha256:0123", "efa"),
        ("nvcr.io/nvidia/ai-dynamo/tensorrtllm-runtime:1.1.1", "standard"),
        ("registry/efa/trtllm:1.1.1", "standard"),
        ("registry/trtllm-efa", "standard"),
        ("registry:5000/efa", "standard"),
    ],
)
def test_an_image_s_tag_says_whether_the_efa_sdk_is_inside(image: str, kind: str) -> None:
    assert image_kind(image) == kind


@pytest.mark.parametrize(("value", "pages"), [("1", "5120Mi"), ("0", None)])
def test_huge_pages_are_asked_for_only_with_the_variable_that_uses_them(
    value: str, pages: str | None
) -> None:
    for pod in pods("aws-p5.48xlarge", env=[{"name": "FI_EFA_USE_HUGE_PAGE", "value": value}]).values():
        resources = pod["containers"][0]["resources"]
        assert resources["requests"].get("hugepages-2Mi") == resources["limits"].get("hugepages-2Mi") == pages


BUNDLED_PLUGINS = "/opt/dynamo/venv/lib/python3.12/site-packages/tensorrt_llm/libs/nixl/plugins"
TWO_NODES = {"nodesPerReplica": 2, "parallelism": {"tensor": 16}}


@pytest.mark.parametrize(
    ("prefill", "decode", "expected"),
    [
        ({}, {}, set()),
        ({}, TWO_NODES, {"decode"}),
        (TWO_NODES, {}, set()),
        (TWO_NODES, TWO_NODES, {"decode"}),
    ],
    ids=["one node", "decode over nodes", "prefill over nodes", "both over nodes"],
)
def test_the_plugin_folder_is_overridden_on_decode_over_several_nodes_only(
    prefill: dict[str, Any], decode: dict[str, Any], expected: set[str]
) -> None:
    found = pods("aws-p5.48xlarge", runtime={"version": "1.1.1"}, prefill=prefill, decode=decode)
    overridden = {role: environment(pod).get("NIXL_PLUGIN_DIR") for role, pod in found.items()}
    assert {role for role, value in overridden.items() if value is not None} == expected
    assert set(overridden.values()) <= {None, BUNDLED_PLUGINS}


def test_who_sets_the_plugin_folder_on_prefill_workers_is_told_not_to() -> None:
    (warning,) = planned(
        "aws-p5.48xlarge", 4, prefill={"env": [{"name": "NIXL_PLUGIN_DIR", "value": "/plugins"}]}
    ).warnings
    assert "prefill loads the system's NIXL" in warning.fault
    with pytest.raises(
        Refusal, match=r"does not fit the plugins inside TensorRT-LLM\. Set it in spec\.decode"
    ):
        planned("aws-p5.48xlarge", 4, env=[{"name": "NIXL_PLUGIN_DIR", "value": BUNDLED_PLUGINS}])


def test_the_variable_is_nixl_plugin_dir_and_a_misspelt_one_is_told() -> None:
    with pytest.raises(Refusal, match=r"NIXL does not read NIXL_PLUGINS_DIR.* Write NIXL_PLUGIN_DIR"):
        planned("aws-p5.48xlarge", 4, decode={"env": [{"name": "NIXL_PLUGINS_DIR", "value": "/plugins"}]})


@pytest.mark.parametrize(
    ("backend", "method"), [({"nixlBackend": "LIBFABRIC"}, "NIXL"), ({"method": "UCX"}, "UCX"), ({}, "NIXL")]
)
def test_variable_and_engine_file_agree_on_both_roles(backend: dict[str, str], method: str) -> None:
    result = planned("aws-p5.48xlarge", 4, transfer=backend)
    plugin = backend.get("nixlBackend", "UCX") if method == "NIXL" else None
    for role in result.roles.values():
        config = yaml.safe_load(role.files["engine.yaml"])
        assert config["cache_transceiver_config"]["backend"] == method
        values = {each.name: each.value for each in role.pod.environment}
        assert values.get("TRTLLM_NIXL_KVCACHE_BACKEND") == plugin
